"""What each row is worth beside dense layers of other sizes, a router that learns nothing, and an oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

import numpy as np

from moebench.board.estimates import loss_curve, training
from moebench.board.evidence import RowRuns, RowStudy
from moebench.board.model import DenseLadder, Estimate, Fit, Multiple, Worth
from moebench.board.reasons import Reason
from moebench.board.rules import LEVEL, NULL
from moebench.plans.plan import Lookup, Plan, Work
from moebench.plans.rows import BASELINE
from moebench.statistics import mean_interval
from moebench.statistics.multiplier import (
    Multiplier,
    compute_multiplier,
    gain_recovered,
    multiplier_mean,
    multiplier_ratio,
    power_law,
    smoothed,
    steps_to,
)

LOSS = "test_loss_nats"
"""The loss that is compared: nats, whatever ranks."""

ORACLE = "oracle_router"
"""The variant that is told how to route."""

REGRET = "route_regret"
"""The measure of that kind."""

LEAST_SIZES_FOR_A_FLOOR = 5

Found = tuple[Multiplier | None, Reason | None]


@dataclass(frozen=True)
class Costs:
    """What a final run of a row on a task takes, each a mean: FLOPs, seconds and parameters of the whole model."""

    flops: float
    seconds: float | None
    params: float | None

    @classmethod
    def of(cls, study: RowStudy) -> Costs | None:
        """None where the records do not say."""
        found = training([study])
        if found is None or found.flops is None:
            return None
        params = [record.counts.get("model_params") for record in study.final_records]
        known = [float(each) for each in params if each is not None]
        return cls(found.flops, found.seconds, fmean(known) if known and len(known) == len(params) else None)


@dataclass(frozen=True)
class TaskLadder:
    """The dense ladder on a task: sizes on the suite's axis, costs_K, and loss_SK in nats; or why there is none.

    Only sizes of lower mean loss than every smaller one are compared with: a larger one that is no better is not what a
    dense model needs.
    """

    task: str
    sizes: tuple[int, ...]
    costs_K: tuple[Costs, ...] = ()
    loss_SK: tuple[tuple[float, ...], ...] = ()
    reason: Reason | None = None

    def multiplier(self, study: RowStudy, cost: Callable[[Costs], float | None]) -> Found:
        """What dense needs of a cost for the loss of a row, over the row's own cost."""
        if self.reason:
            return None, self.reason
        own, loss_S = Costs.of(study), losses(study)
        if own is None or not loss_S:
            return None, Reason("loss_unknown")
        spent, costs_K = cost(own), [each for each in map(cost, self.costs_K) if each is not None]
        if not spent or len(costs_K) < len(self.costs_K):
            return None, Reason("cost_unknown")
        if (np.diff(costs_K) <= 0).any():
            return None, Reason("cost_not_rising")
        falling_K, used = np.array(self.loss_SK)[:, self.falling], [costs_K[k] for k in self.falling]
        found = compute_multiplier(used, falling_K, loss_S, spent, LEVEL)
        # Not even the largest size has a loss that the best of them lacks.
        return (replace(found, limit=costs_K[-1] / spent) if found.beyond == "above" else found), None

    @property
    def falling(self) -> list[int]:
        """The places of the sizes that are compared with."""
        mean_K = np.mean(self.loss_SK, axis=0)
        return [k for k, loss in enumerate(mean_K) if k == 0 or loss < mean_K[:k].min()]

    @property
    def note(self) -> DenseLadder:
        """What the board shows of it."""
        if self.reason:
            return DenseLadder(task=self.task, sizes=self.sizes, reason=self.reason)
        loss = [mean_interval([[value] for value in each], LEVEL) for each in zip(*self.loss_SK, strict=True)]
        return DenseLadder(
            task=self.task,
            sizes=self.sizes,
            flops=tuple(each.flops for each in self.costs_K),
            loss=tuple(Estimate.of(each, "nats") for each in loss),
            no_better=tuple(size for k, size in enumerate(self.sizes) if k not in self.falling),
        )


def losses(study: RowStudy) -> tuple[float, ...]:
    """Test loss by seed, in nats; empty while a run is missing, and where one diverged or has no such loss."""
    found = [record.scores.get(LOSS) for record in study.final_records]
    known = tuple(float(value) for value in found if value is not None)
    return known if study.complete and len(known) == len(found) else ()


Regrets = Mapping[str, Mapping[str, float | None]]
"""Identity of a final run -> what was measured of its routes, by name."""


def is_shown(work: Work) -> bool:
    """Whether a board shows what a measure found."""
    return work.cell.session.get("measure") == REGRET


def regrets_of(plan: Plan, lookup: Lookup) -> Regrets:
    """What the suite's measures of route regret found."""
    found = dict[str, Mapping[str, float | None]]()
    for alone in (False, True):
        for work in plan.measuring(lookup, alone=alone):
            if is_shown(work) and (record := lookup(work.cell.identity)) is not None:
                found[work.of] = record.scores
    return found


def ladders_of(plan: Plan, lookup: Lookup) -> tuple[TaskLadder, ...]:
    """One for each task; none where the suite has no ladder."""
    if plan.suite.ladder is None:
        return ()
    rows = {row.ladder: row for row in plan.rows if row.ladder}
    dense = next((row for row in plan.rows if row.name == BASELINE), None)
    runs = {}
    for size in plan.suite.ladder.sizes:
        if (row := rows.get(size, dense)) is not None:
            runs[size] = RowRuns.of(plan, row, size, lookup)
    tasks = range(len(plan.suite.task))
    return tuple(_ladder({size: each.studies[task] for size, each in runs.items()}) for task in tasks)


def _ladder(studies: Mapping[int, RowStudy]) -> TaskLadder:
    name, sizes = next(iter(studies.values())).info.name, tuple(studies)
    lacking = [size for size, study in studies.items() if not losses(study) or Costs.of(study) is None]
    if lacking:
        return TaskLadder(name, sizes, reason=Reason("ladder_incomplete", sizes=lacking))
    costs = tuple(found for study in studies.values() if (found := Costs.of(study)))
    loss_SK = tuple(zip(*map(losses, studies.values()), strict=True))
    ladder = TaskLadder(name, sizes, costs, loss_SK)
    return ladder if len(ladder.falling) > 1 else replace(ladder, reason=Reason("ladder_not_falling"))


def noted(ladder: TaskLadder, floor: float | None) -> DenseLadder:
    """The ladder as the board shows it, with the power law through its means where one can be fitted."""
    note = ladder.note
    means = [each.value for each in note.loss]
    if not means or (floor is None and len(means) < LEAST_SIZES_FOR_A_FLOOR) or (floor or 0.0) >= min(means):
        return note
    law = power_law(note.flops, means, floor)
    fit = Fit(floor=law.floor, scale=law.scale, exponent=law.exponent, residuals=law.residual_K)
    return replace(note, fit=fit)


def worth_of(
    plan: Plan, evidences: Sequence[RowRuns], ladders: Sequence[TaskLadder], regrets: Regrets
) -> dict[str, tuple[Worth, tuple[Worth, ...]]]:
    """By row of a budget: its worth over all tasks, and on each."""
    known = _Known(
        dense=_named(evidences, lambda e: e.row.name == BASELINE),
        nulls=[e for e in evidences if e.row.variant == NULL],
        like={each.name: each.like for each in plan.suite.reference},
        oracle=_named(evidences, lambda e: e.row.variant == ORACLE),
        ladders=ladders,
        regrets=regrets,
    )
    found = {}
    for evidence in evidences:
        each = tuple(known.worth(evidence, [n]) for n in range(len(evidence.studies)))
        whole = each[0] if len(each) == 1 else known.worth(evidence, range(len(each)))
        found[evidence.row.name] = whole, each
    return found


def _named(evidences: Sequence[RowRuns], wanted: Callable[[RowRuns], bool]) -> RowRuns | None:
    return next(filter(wanted, evidences), None)


@dataclass(frozen=True)
class _Known:
    """What the rows of a budget are held against. like: reference -> the row whose experts it has."""

    dense: RowRuns | None
    nulls: Sequence[RowRuns]
    like: Mapping[str, str | None]
    oracle: RowRuns | None
    ladders: Sequence[TaskLadder]
    regrets: Regrets

    @cached_property
    def ends_of_dense(self) -> list[float | None]:
        """Its validation loss at the end of training, smoothed, on each task; empty without it."""
        curves = map(loss_curve, self.dense.studies if self.dense else ())
        return [smoothed(curve.validation_loss)[-1] if curve and curve.validation_loss else None for curve in curves]

    def worth(self, evidence: RowRuns, tasks: Sequence[int]) -> Worth:
        """Of a row on some of the tasks: ratios are geometric means over them, losses and steps means."""
        null = self._null_of(evidence)
        compute, reason = self._multiplier(evidence, tasks, lambda costs: costs.flops)
        routing, capacity, why = self._routing(evidence, null, tasks, compute, reason)
        gain, no_gain = self._recovered(evidence, null, tasks)
        return Worth(
            compute_multiplier=_multiple(compute),
            compute_multiplier_reason=reason,
            wall_clock_multiplier=_multiple(self._multiplier(evidence, tasks, lambda costs: costs.seconds)[0]),
            parameter_multiplier=_multiple(self._multiplier(evidence, tasks, lambda costs: costs.params)[0]),
            routing_worth=_multiple(routing),
            routing_worth_reason=why,
            capacity_worth=_multiple(capacity),
            gain_recovered=gain,
            gain_recovered_reason=no_gain,
            steps_to_dense=self._steps(evidence, tasks),
            route_regret=self._regret(evidence, tasks),
            route_regret_layers=self._regret_layers(evidence, tasks),
        )

    def _regret(self, evidence: RowRuns, tasks: Sequence[int], suffix: str = "") -> Estimate | None:
        """A mean over seeds and tasks, in nats where every final has them."""
        studies = [evidence.studies[n] for n in tasks]
        for name, unit in (("regret_nats", "nats"), (f"regret_{studies[0].headline.name}", studies[0].headline.unit)):
            found = [[self.regrets.get(r.identity, {}).get(name + suffix) for r in s.final_records] for s in studies]
            if all(study.complete for study in studies) and all(None not in each for each in found):
                by_seed = [[float(value or 0.0) for value in seed] for seed in zip(*found, strict=True)]
                return Estimate.of(mean_interval(by_seed, LEVEL), unit)
        return None

    def _regret_layers(self, evidence: RowRuns, tasks: Sequence[int]) -> tuple[Estimate, ...]:
        if len(tasks) > 1:
            return ()
        layers = max((len(r.counts.get("sizes") or ()) for r in evidence.studies[tasks[0]].final_records), default=0)
        found = (self._regret(evidence, tasks, f" layer {n + 1}") for n in range(layers))
        return tuple(each for each in found if each)

    def _multiplier(self, evidence: RowRuns, tasks: Sequence[int], cost: Callable[[Costs], float | None]) -> Found:
        if not self.ladders:
            return None, Reason("no_ladder")
        found = [self.ladders[n].multiplier(evidence.studies[n], cost) for n in tasks]
        if reason := next((why for _, why in found if why), None):
            return None, reason
        return multiplier_mean([each for each, _ in found if each], LEVEL), None

    def _null_of(self, evidence: RowRuns) -> RowRuns | None:
        """The row of a router that learns nothing: the one that is like the row, else the first."""
        like = (each for each in self.nulls if self.like.get(each.row.name) == evidence.row.name)
        return next(like, next(iter(self.nulls), None))

    def _routing(
        self,
        evidence: RowRuns,
        null: RowRuns | None,
        tasks: Sequence[int],
        compute: Multiplier | None,
        reason: Reason | None,
    ) -> tuple[Multiplier | None, Multiplier | None, Reason | None]:
        """What learned routing is worth, what sparse capacity without it is, and why not."""
        if compute is None:
            return None, None, reason
        if not _has_experts(evidence):
            return None, None, Reason("no_experts")
        if null is None:
            return None, None, Reason("no_null_row", null=NULL)
        capacity, why = self._multiplier(null, tasks, lambda costs: costs.flops)
        if capacity is None:
            return None, None, why
        worth = multiplier_ratio(compute, capacity, LEVEL)
        if worth.value is None and not worth.beyond:
            return None, capacity, Reason("both_outside", null=null.row.name)
        return worth, capacity, None

    def _recovered(
        self, evidence: RowRuns, null: RowRuns | None, tasks: Sequence[int]
    ) -> tuple[Estimate | None, Reason | None]:
        if self.oracle is None or null is None:
            return None, Reason("no_oracle", oracle=ORACLE, null=NULL)
        if not _has_experts(evidence):
            return None, Reason("no_experts")
        null_S, own_S, oracle_S = (_mean_losses(each, tasks) for each in (null, evidence, self.oracle))
        if not (null_S and own_S and oracle_S):
            return None, Reason("loss_unknown")
        return Estimate.of(gain_recovered(null_S, own_S, oracle_S, LEVEL), "share"), None

    def _steps(self, evidence: RowRuns, tasks: Sequence[int]) -> float | None:
        """The share of the steps after which the validation loss is that of dense at the end; None: it never is."""
        shares = []
        for n in tasks:
            own, end = loss_curve(evidence.studies[n]), self.ends_of_dense[n] if self.ends_of_dense else None
            if own is None or end is None or not own.validation_loss:
                return None
            steps = steps_to(own.steps, own.validation_loss, end)
            if steps is None:
                return None
            shares.append(steps / own.steps[-1])
        return fmean(shares)


def _has_experts(evidence: RowRuns) -> bool:
    return any(any(record.counts.get("experts") or ()) for s in evidence.studies for record in s.final_records)


def _mean_losses(evidence: RowRuns, tasks: Sequence[int]) -> list[float]:
    """Loss by seed, a mean over tasks; empty where a task has none."""
    found = [losses(evidence.studies[n]) for n in tasks]
    return list(map(fmean, zip(*found, strict=True))) if all(found) else []


def _multiple(found: Multiplier | None) -> Multiple | None:
    if found is None:
        return None
    bound = {"above": ">", "below": "<"}.get(found.beyond)
    return Multiple(found.value, found.low, found.high, bound, found.limit)
