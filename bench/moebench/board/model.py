"""What a board holds. Plain values; the JSON of a board has the same names unless ``data`` says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moebench.board.reasons import Reason
from moebench.statistics import Calibration, Interval, Place, Power


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. ``low`` and ``high`` are None where the runs can set no bounds."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""

    @classmethod
    def of(cls, interval: Interval, unit: str) -> Estimate:
        """An interval of the statistics, as a number of the board."""
        return cls(interval.value, interval.low, interval.high, unit)


@dataclass(frozen=True)
class Multiple:
    """A ratio of costs with its 95 % interval; a bound outside the ladder is None.

    value: None outside the ladder; there ``bound`` is ``>`` or ``<``, and ``limit`` what it is more or less than.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    bound: str | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Timing(Estimate):
    """Milliseconds: the median over a session's rounds. ``ratio_to_dense`` was taken inside each round."""

    ratio_to_dense: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class ExpertsOfRow:
    """By layer: how many experts, and how many act on a token. always_on: whether a part acts beside them, always."""

    experts: tuple[int, ...]
    per_token: tuple[float, ...]
    always_on: bool

    @property
    def words(self) -> str:
        """``16 experts, 2 a token``; of each layer where they differ."""
        each = dict.fromkeys(zip(self.experts, self.per_token, strict=True))
        text = ", then ".join(f"{experts} experts, {per_token:g} a token" for experts, per_token in each)
        return f"{text}, and a part that always acts" if self.always_on else text


@dataclass(frozen=True)
class Score:
    """A score that stands beside the headlines: its mean over seeds, or None with the reason."""

    name: str
    measure: Estimate | None
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True)
class TuningSummary:
    """What tuning found on one task, and what it cost.

    settings: the winner's. validation, default_validation: score of the winner and of trial 0.
    finals_validation: mean of the final runs, a diverged one at the task's floor. winners_curse: by how much the winner
    is better than that; None while a final run is missing.
    edges: settings of which the winner has the smallest or largest value tried, the learning rate first.
    device_seconds: of all trials. effort: expected best validation score of so many of the trials; empty with
    ``effort_reason``.
    """

    winner: int
    settings: dict[str, Any]
    edges: tuple[Reason, ...] = ()
    validation: float
    default_validation: float
    finals_validation: float | None = None
    winners_curse: float | None = None
    device_seconds: float
    effort: tuple[float, ...] = ()
    effort_reason: Reason | None = None


@dataclass(frozen=True, kw_only=True)
class EntryCounts:
    """Of the trained models: parameters of the expert layers and of the model, FLOPs per input.

    model_flops_per_input: of the whole model; None in records of earlier versions. budget_error: the largest signed
    share by which the expert layers miss their budget.
    """

    total_params: int
    active_params: int
    model_params: int
    flops_per_input: int
    model_flops_per_input: int | None = None
    budget_error: float


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """Of one final run, a mean: FLOPs of its training steps, and seconds. None in records that lack it."""

    flops: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What a row is worth, beside dense layers of other sizes and a router that learns nothing.

    compute_multiplier: the training FLOPs of a dense model of the row's test loss, over the row's own.
    wall_clock_multiplier, parameter_multiplier: the same of seconds of training, and of parameters of the whole model.
    capacity_worth: the compute multiplier of the row with the detached frozen router; routing_worth: the row's own over
    it. gain_recovered: the share of what an oracle has over that router. steps_to_dense: the share of the steps after
    which the row's validation loss is that of dense at the end; None where it never is. route_regret: by how much the
    loss is higher, in nats, or the headline worse, under routes at random; route_regret_layers: of each layer alone,
    where there is one task. Where one of the others is
    None, the reason of its name, or that of the compute multiplier, says why.
    """

    compute_multiplier: Multiple | None = None
    compute_multiplier_reason: Reason | None = None
    wall_clock_multiplier: Multiple | None = None
    parameter_multiplier: Multiple | None = None
    routing_worth: Multiple | None = None
    routing_worth_reason: Reason | None = None
    capacity_worth: Multiple | None = None
    gain_recovered: Estimate | None = None
    gain_recovered_reason: Reason | None = None
    steps_to_dense: float | None = None
    route_regret: Estimate | None = None
    route_regret_layers: tuple[Estimate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fit:
    """loss = floor + scale x FLOPs^-exponent; residuals: measured less fitted, in nats, size by size."""

    floor: float
    scale: float
    exponent: float
    residuals: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DenseLadder:
    """Dense layers of several sizes on a task: amounts on the suite's axis, training FLOPs of the whole model, and test
    loss in nats; or the reason why nothing can be compared with them. no_better: sizes that no smaller one is worse
    than. fit: of the loss, where one can be made.
    """

    task: str
    sizes: tuple[int, ...]
    flops: tuple[float, ...] = ()
    loss: tuple[Estimate, ...] = ()
    no_better: tuple[int, ...] = ()
    fit: Fit | None = None
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True)
class EntryProvenance:
    """Where the final runs of a row on a task come from: what may differ between equal results.

    started: the first of them, in UTC. seconds: of all of them together.
    """

    code_digest: str
    devices: tuple[str, ...]
    backends: tuple[str, ...]
    versions: dict[str, str]
    started: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """Mean over the final runs, at the same steps of each, in the unit of the task's loss.

    train_loss: means since the step before. validation_loss: on a fixed part of the validation data; empty in records
    that lack it.
    """

    steps: tuple[int, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RouteTable:
    """Where tokens of some labels go in the last layer of the first final run: share (R, E) of their choices."""

    labels: tuple[str, ...]
    share: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One row on one task. ``score`` is None until every seed has a result; ``reason`` says what is missing.

    status: done, diverged, or that of the first run without a result; not_run where it was never tried.
    seeds: test score of each final run, a diverged one at the task's floor. records: their identities.
    """

    name: str
    unit: str
    higher_is_better: bool
    status: str
    reason: Reason | None = None
    score: Estimate | None = None
    seeds: tuple[float, ...] = ()
    specialization: Estimate | None = None
    specialization_reason: Reason | None = None
    selection_gain: Estimate | None = None
    experts_gain: Estimate | None = None
    experts: ExpertsOfRow | None = None
    scores: tuple[Score, ...] = ()
    tuning: TuningSummary | None = None
    curve: LossCurve | None = None
    routes: Mapping[str, RouteTable] = field(default_factory=dict, hash=False)
    counts: EntryCounts | None = None
    latency: Timing | None = None
    latency_reason: Reason | None = None
    latency_batch1: Timing | None = None
    train_inputs_per_second: float | None = None
    peak_memory_mib: float | None = None
    training: TrainingCost | None = None
    worth: Worth = Worth()
    records: tuple[str, ...] = ()
    provenance: EntryProvenance | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the board. Where a headline is None, the reason of that name says why.

    conformance: of another author's row, how many checks it holds, or "not checked". budget: the row's own (a reference
    row may have another than the suite's). counts: means over tasks. experts: how many, in words. score_beside: the
    mean over tasks of the score beside the one that ranks, loss or headline.
    specialization: only beside another row of the same experts; selection_gain and experts_gain, its numerator and
    denominator, always.
    reason: why it has no rank. flags: what to know before trusting its numbers. seeds, trials: how many have a result,
    the fewest of any task.
    better_than: the ranked rows at its budget that it is significantly better than.
    pareto: whether it is certainly on the Pareto front of representation, latency and active parameters, certainly
    not, or neither; None without one of these or a rank.
    rank_survival: share of resampled tunings in which its place stays inside its rank; None without a rank, or for the
    reason of that name. order_turns: share of them in which the ranked row of next lower score is better; None of the
    last. winners_curse: mean over tasks of what the best trial is better than the final runs, on validation data.
    of_tokens: scores of single tokens by name, means over tasks; only those that every final run has.
    paper, code: https addresses, or empty. author: who made it, as they name themselves, or empty.
    """

    variant: str
    implementation: str
    conformance: str | None = None
    reference: bool
    note: str
    budget: int
    rank: tuple[int, int] | None = None
    reason: Reason | None
    flags: tuple[Reason, ...]
    seeds: int
    trials: int
    counts: EntryCounts | None
    tasks: tuple[TaskResult, ...]
    representation: Estimate | None
    representation_reason: Reason | None
    score_beside: Estimate | None = None
    vs_dense: Estimate | None
    vs_dense_reason: Reason | None
    specialization: Estimate | None
    specialization_reason: Reason | None
    selection_gain: Estimate | None = None
    experts_gain: Estimate | None = None
    experts: str | None = None
    latency: Timing | None
    latency_reason: Reason | None
    latency_batch1: Timing | None = None
    latency_layers: Timing | None = None
    latency_token: Timing | None = None
    train_step: Timing | None = None
    training: TrainingCost | None = None
    worth: Worth = Worth()
    train_tokens_per_second: float | None = None
    train_inputs_per_second: float | None = None
    train_peak_memory_mib: float | None = None
    forward_peak_memory_mib: float | None = None
    resident_memory_mib: float | None = None
    resident_memory_batch1_mib: float | None = None
    better_than: tuple[str, ...] = ()
    pareto: Place | None = None
    rank_survival: float | None = None
    order_turns: float | None = None
    rank_survival_reason: Reason | None = None
    winners_curse: float | None = None
    of_tokens: Mapping[str, Estimate] = field(default_factory=dict, hash=False)
    paper: str = ""
    code: str = ""
    author: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskNote:
    """What every row shared on a task. metric: the score that ranks; metric_beside: the one beside it, if there is one.
    shared_settings: data, split, host and training, by name.

    epochs: passes over the training data; None where batches are drawn afresh, or no record says how many data there
    are. loss_unit: of the training loss. scored_bytes: of the test text; None of other tasks.
    """

    name: str
    label: str
    metric: str
    unit: str
    higher_is_better: bool
    floor: float
    metric_beside: str | None = None
    shared_settings: dict[str, Any]
    epochs: float | None = None
    loss_unit: str = ""
    scored_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class OtherRuns:
    """Finished runs under a row's name that are not compared with the board's, with the reason.

    score: mean test score of ``runs`` final runs.
    """

    variant: str
    task: str
    runs: int
    score: Estimate
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of ``moebench verify --rerun``: training runs of a published board, how many of them were re-run, how
    many of these agreed, how many to the last digit, and on which device.

    largest: difference of a score from the published one. records: SHA-256 of the records. pick: the reviewer's word
    that joined their digest, if any.
    """

    runs: int
    rerun: int
    agreed: int
    exact: int
    largest: float
    device: str
    records: str
    pick: str = ""


@dataclass(frozen=True, kw_only=True)
class Against:
    """A reference row, and the ranked rows that are significantly better, worse, and neither (``level``)."""

    reference: str
    better: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    level: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rung:
    """The entries of one budget: ranked ones first, then those without a rank, then reference rows.

    power: how many seeds a difference that matters needs; None for one seed, and where no ranked row shows a spread.
    """

    budget: int
    entries: tuple[Entry, ...]
    against: tuple[Against, ...] = ()
    power: Power | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Board:
    """A suite's leaderboard on one device; ``rungs`` has one for each budget of the suite.

    calibration: what intervals and ranks do on simulated boards of as many seeds and rows; None for one seed.
    other_runs: finished runs of the suite that belong to another comparison. verification: of a published board.
    dense_ladder: one for each task, where the suite has a ladder. trial_steps: training steps of a trial, where the
    suite gives trials other than final runs.
    ``print(board)`` shows it as in a terminal, a notebook as a table.
    """

    suite: str
    title: str
    protocol: str
    axis: str
    device: str
    seeds: int
    trials: int
    sampler: str
    latency_batch: int
    latency_rounds: int
    tasks: tuple[TaskNote, ...]
    rungs: tuple[Rung, ...]
    versions: dict[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None
    other_runs: tuple[OtherRuns, ...] = ()
    verification: Verification | None = None
    dense_ladder: tuple[DenseLadder, ...] = ()
    trial_steps: int | None = None

    def __repr__(self) -> str:
        rows = ", ".join(entry.variant for entry in self.entries)
        return f"<board of {self.suite}: {rows}; print() shows it>"

    @property
    def budget(self) -> int:
        """The first budget; ``entries`` belong to it."""
        return self.rungs[0].budget

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The rows at the first budget."""
        return self.rungs[0].entries

    def entry(self, variant: str, budget: int | None = None) -> Entry:
        """The row of that name, at the first budget if none is given; KeyError if there is none."""
        for rung in self.rungs:
            if rung.budget == (self.budget if budget is None else budget):
                for entry in rung.entries:
                    if entry.variant == variant:
                        return entry
        raise KeyError(variant)
