"""The columns of the board, each declared once: terminal, Markdown, CSV, JSON and page are made from here.

A new column is a :class:`Column` among :data:`COLUMNS`, in the order of JSON; its key in :data:`SHOWN` puts it into the
tables, in a terminal's unless it is not ``terminal``; in :data:`DETAILS` beside the other facts of a row on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from moebench.board.model import Board, Entry, EntryCounts, Estimate, Multiple, Timing, TrainingCost
from moebench.board.numbers import MISSING, latency, multiple, rank, short, shown_name, with_interval
from moebench.board.reasons import Reason
from moebench.board.words import NOT_COMPARED, beside_name, score_name
from moebench.measures.scores.shares import SHARES, in_words
from moebench.plans.rows import BASELINE

Kind = Literal["text", "interval", "multiple", "latency", "amount"]
"""What a cell of the page looks like; in CSV amounts come last."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What the board has of each row.

    key: its name in JSON and CSV, and in :class:`~moebench.board.model.Entry`. help: what it is, in a sentence.
    read: its value in JSON where it is not the entry's own. reason: why there is no value, ``<key>_reason`` in JSON.
    csv: its fields in a CSV line (default: its value); None leaves it out. optional: JSON and CSV lack it where no row
    has it.

    Of a column in :data:`SHOWN`: title, short_title (in a terminal, and beside a value on a narrow page), cell (its
    text), missing (what the page shows in the place of a value, by default the reason), best (which end of the values
    is best; ``score`` for that of the scores), gives_way (columns with a higher number go first where a terminal is
    narrow; 0 stays). Of an interval: places (decimals), sign, mark (what its scale marks), against_dense (the row of
    dense has nothing to show), drawn (whether the page draws it beside its number). on (whether a board has it),
    terminal (whether its table there has it).

    Of one in :data:`DETAILS`: detail, its name there, and detail_form, of its value; a latency has none, for the page
    has a form of its own for it.
    """

    key: str
    help: str
    kind: Kind = "text"
    read: Callable[[Entry], Any] | None = None
    reason: Callable[[Entry], str | None] | None = None
    csv: Callable[[Entry, Column], dict[str, Any]] | None = lambda entry, own: {own.key: own.value(entry)}
    title: str = ""
    short_title: str = ""
    cell: Callable[[Entry], str] = lambda entry: MISSING
    missing: Callable[[Entry], str] | None = None
    best: Literal["", "first", "high", "low", "score"] = ""
    gives_way: int = 0
    places: int = 3
    sign: bool = False
    mark: float | None = None
    against_dense: bool = False
    on: Callable[[Board], bool] = lambda board: True
    terminal: bool = True
    optional: bool = False
    drawn: bool = True
    detail: str = ""
    detail_form: str = "{:,}"

    def known(self, board: Board) -> bool:
        """Whether JSON, CSV and details have it: an optional one only where some row does."""
        rows = (entry for rung in board.rungs for entry in rung.entries)
        return not self.optional or any(self.value(entry) is not None for entry in rows)

    def value(self, entry: Entry) -> Any:
        """Of a row; None where there is none."""
        return self.read(entry) if self.read else getattr(entry, self.key)

    def amount(self, entry: Entry) -> Any:
        """What the page's table has of its value."""
        value = self.value(entry)
        return value.flops if isinstance(value, TrainingCost) else value

    def detail_text(self, entry: Entry) -> str | None:
        """Its text among the details of a row."""
        value = self.value(entry)
        if isinstance(value, Multiple | Estimate):
            return self.cell(entry)
        return None if value is None else self.detail_form.format(value, counts=entry.counts)

    def titled(self, board: Board, *, short: bool = False) -> str:
        """Its title on a board; the scores' is their metric's name, a latency has its batch."""
        title = (self.short_title if short else "") or self.title
        return title.format(score=score_name(board), beside=beside_name(board), batch=board.latency_batch)

    @property
    def right(self) -> bool:
        """Whether its texts are set to the right."""
        return self.kind in ("latency", "amount")

    def measure(self, entry: Entry) -> Estimate | None:
        """What the page draws of it: an interval, or a latency's ratio to dense."""
        value = self.value(entry)
        if isinstance(value, Multiple):
            return None if value.value is None else Estimate(value.value, value.low, value.high, "ratio")
        return value.ratio_to_dense if isinstance(value, Timing) else value

    def shown_reason(self, entry: Entry) -> str:
        """What the page shows in the place of a value."""
        return (self.missing or self.reason or (lambda entry: None))(entry) or ""


def _text(reason: Reason | None) -> str | None:
    return reason.text if reason else None


def _sentence(reason: Reason | None) -> str | None:
    return reason.sentence if reason else None


def bounds(name: str, measure: Estimate | None) -> dict[str, float | None]:
    """The three fields of an interval in CSV."""
    if measure is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: measure.value, f"{name}_low": measure.low, f"{name}_high": measure.high}


def _interval(key: str, help: str, **more: Any) -> Column:
    """A number with its interval over training seeds."""
    csv = {"csv": lambda entry, own: bounds(key, getattr(entry, key))}
    return Column(key=key, help=help, kind="interval", best=more.pop("best", "score"), **{**csv, **more})


def _timing(key: str, help: str, detail: str, **more: Any) -> Column:
    """A latency beside the headline."""

    def csv(entry: Entry, own: Column) -> dict[str, Any]:
        timing = getattr(entry, key)
        ratio = timing.ratio_to_dense if timing else None
        return bounds(f"{key}_ms", timing) | bounds(f"{key}_ratio_to_dense", ratio)

    return Column(key=key, help=help, kind="latency", csv=csv, detail=detail, **more)


def _memory(key: str, help: str, detail: str, **more: Any) -> Column:
    """Of a session, in MiB."""
    return Column(key=key, help=help, kind="amount", detail=detail, detail_form="{:,.1f} MiB", **more)


def _count(key: str, help: str, **more: Any) -> Column:
    """One of the counts."""

    def read(entry: Entry) -> float | None:
        return getattr(entry.counts, key, None)

    return Column(key=key, help=help, kind="amount", read=read, cell=lambda entry: short(read(entry)), **more)


def _latency_in_csv(entry: Entry, own: Column) -> dict[str, Any]:
    ratio = entry.latency.ratio_to_dense if entry.latency else None
    reason = {"latency_reason": _text(entry.latency_reason) or ""}
    return bounds("latency_ms", entry.latency) | bounds("latency_ratio_to_dense", ratio) | reason


def _special(entry: Entry) -> str:
    """The number, or that a layer has no experts."""
    reason = entry.specialization_reason
    return reason.text if reason and reason.code == "no_experts" else with_interval(entry.specialization, 2)


def _not_special(entry: Entry) -> str:
    """Why there is no number, in the few words of a cell; the sentence stands in the row's details."""
    reason = entry.specialization_reason
    return NOT_COMPARED.get(reason.code, reason.text) if reason else ""


def _gain(key: str, help: str, title: str, short_title: str, gives_way: int) -> Column:
    """The numerator or the denominator of specialization."""
    return _interval(
        key,
        help,
        title=title,
        short_title=short_title,
        cell=lambda e: with_interval(getattr(e, key), 2),
        best="high",
        gives_way=gives_way,
        places=2,
        drawn=False,
    )


def _of_tokens(key: str, help: str, detail: str) -> Column:
    """A score of single tokens, on boards that have it."""

    def read(entry: Entry) -> Estimate | None:
        return entry.of_tokens.get(key)

    return _interval(
        key,
        help,
        read=read,
        csv=lambda entry, own: bounds(key, read(entry)),
        cell=lambda entry: with_interval(read(entry)),
        detail=detail,
        optional=True,
    )


def _multiple(key: str, help: str, **more: Any) -> Column:
    """A ratio of costs, known where the suite has a ladder of dense sizes."""

    def read(entry: Entry) -> Multiple | None:
        found: Multiple | None = getattr(entry.worth, key)
        return found

    def csv(entry: Entry, own: Column) -> dict[str, Any]:
        found = read(entry) or Multiple(None)
        ends = {key: found.value, f"{key}_low": found.low, f"{key}_high": found.high}
        return ends | {f"{key}_bound": found.bound, f"{key}_limit": found.limit}

    return Column(
        key=key,
        help=help,
        kind="multiple",
        read=read,
        csv=csv,
        on=lambda board: bool(board.dense_ladder),
        cell=lambda entry: multiple(read(entry)),
        best="high",
        **more,
    )


COLUMNS = (
    Column(
        key="variant",
        help="The row's name.",
        title="variant",
        cell=lambda e: shown_name(e.variant),
        best="first",
    ),
    Column(key="implementation", help="The variant behind it.", csv=None),
    Column(key="reference", help="Whether it is a reference row, which takes no rank."),
    Column(key="note", help="What a reference row is, or which file a row is from.", csv=None),
    Column(
        key="paper",
        help="Address where the layer is described.",
        read=lambda e: e.paper or None,
        optional=True,
    ),
    Column(
        key="code",
        help="Address of its authors' implementation.",
        read=lambda e: e.code or None,
        optional=True,
    ),
    Column(key="author", help="Who made it, as they name themselves.", read=lambda e: e.author or None, optional=True),
    Column(
        key="rank",
        help="From 1 + the rows that are significantly better to the ranked rows less those significantly worse.",
        csv=lambda e, own: {"rank_low": e.rank[0] if e.rank else None, "rank_high": e.rank[1] if e.rank else None},
        title="rank",
        cell=lambda e: rank(e.rank),
    ),
    Column(key="reason", read=lambda e: _sentence(e.reason), help="Why it has no rank."),
    Column(
        key="flags",
        read=lambda e: [flag.text for flag in e.flags],
        help="What to know before trusting its numbers.",
        csv=lambda e, own: {"flags": "; ".join(own.value(e))},
    ),
    Column(key="seeds", help="Final runs with a result, the fewest of any task."),
    Column(key="trials", help="Trials with a result, the fewest of any task."),
    Column(key="budget", help="Its own budget.", csv=None),
    _count(
        "total_params",
        "Parameters of the expert layers.",
        detail="parameters, expert layers",
        detail_form="{:,} ({counts.budget_error:+.2%} of its budget)",
    ),
    _count(
        "model_params",
        "Parameters of the whole model.",
        title="parameters, whole model",
        short_title="model",
        terminal=False,
        best="low",
        detail="parameters, whole model",
    ),
    _count(
        "active_params",
        "Parameters of the expert layers that act on an input.",
        title="active parameters",
        short_title="active",
        best="low",
        gives_way=4,
        detail="parameters, active",
    ),
    _count(
        "flops_per_input",
        "FLOPs of the expert layers for an input.",
        title="FLOPs per input",
        short_title="FLOPs",
        best="low",
        gives_way=5,
        detail="FLOPs per input, expert layers",
    ),
    _count(
        "model_flops_per_input",
        "FLOPs of a forward pass of the whole model for an input.",
        title="FLOPs per input, whole model",
        short_title="model FLOPs",
        terminal=False,
        best="low",
        detail="FLOPs per input, whole model",
    ),
    _count("budget_error", "The largest signed share by which the expert layers miss their budget."),
    _interval(
        "representation",
        "Mean over tasks of the mean over seeds of the test score.",
        reason=lambda e: _sentence(e.representation_reason),
        title="{score}",
        cell=lambda e: with_interval(e.representation),
    ),
    _interval(
        "score_beside",
        "The score that does not rank, of headline and loss: the mean over tasks of the mean over seeds.",
        best="",
        title="{beside}",
        cell=lambda e: with_interval(e.score_beside),
        on=lambda board: any(task.metric_beside for task in board.tasks),
        terminal=False,
    ),
    _interval(
        "vs_dense",
        "The score less that of dense.",
        reason=lambda e: _text(e.vs_dense_reason),
        title="vs dense",
        cell=lambda e: MISSING if e.variant == BASELINE else with_interval(e.vs_dense, sign=True),
        gives_way=1,
        sign=True,
        drawn=False,
        against_dense=True,
    ),
    _gain(
        "selection_gain",
        "What an input's own experts give over the same number fixed for all inputs: the numerator of specialization.",
        "selection gain",
        "selection",
        4,
    ),
    _gain(
        "experts_gain",
        "What all experts give over none: the denominator of specialization.",
        "expert gain",
        "experts",
        6,
    ),
    Column(
        key="experts",
        help="How many experts its layers have, and how many act on a token.",
        csv=None,
        detail="experts",
        detail_form="{}",
    ),
    _interval(
        "specialization",
        "Selection gain over expert gain, among rows of as many experts and nothing beside them.",
        reason=lambda e: _text(e.specialization_reason),
        csv=lambda e, own: (
            bounds(own.key, e.specialization) | {f"{own.key}_reason": _text(e.specialization_reason) or ""}
        ),
        title="specialization",
        cell=_special,
        missing=_not_special,
        best="high",
        gives_way=5,
        places=2,
        mark=0,
    ),
    Column(
        key="latency",
        help="Milliseconds of a forward pass of the whole model, and their ratio to dense.",
        kind="latency",
        reason=lambda e: _text(e.latency_reason),
        csv=_latency_in_csv,
        title="latency, batch {batch}",
        short_title="batch {batch}",
        cell=lambda e: latency(e.latency),
        best="low",
        gives_way=2,
        mark=1,
        detail="latency, batch {board.latency_batch}",
    ),
    _timing(
        "latency_batch1",
        "The same of one input.",
        "latency, batch 1",
        title="latency, batch 1",
        short_title="batch 1",
        cell=lambda e: latency(e.latency_batch1),
        best="low",
        gives_way=3,
        mark=1,
    ),
    _timing("latency_layers", "Of the expert layers.", "latency, expert layers alone"),
    _timing("train_step", "Milliseconds of a training step.", "training step, batch {board.latency_batch}"),
    _timing(
        "latency_token",
        "Of the last token of one input, with the keys and values of those before it; of causal transformers.",
        "latency, the next token",
        optional=True,
    ),
    Column(
        key="train_tokens_per_second",
        help="Tokens of the expert layers that such steps take in a second.",
        kind="amount",
        detail="training steps, tokens a second",
        detail_form="{:,.0f}",
    ),
    Column(
        key="training",
        help="Of one training: FLOPs, three times those of a forward pass for each input of each step, and seconds.",
        kind="amount",
        csv=lambda e, own: {
            f"training_{name}": getattr(e.training, name) if e.training else None for name in ("flops", "seconds")
        },
        title="training FLOPs",
        terminal=False,
        cell=lambda e: short(e.training.flops if e.training else None),
        best="low",
    ),
    _multiple(
        "compute_multiplier",
        "Training FLOPs of a dense model of equal test loss, over its own; above 1 it saves compute.",
        reason=lambda e: _text(e.worth.compute_multiplier_reason),
        title="compute multiplier",
        short_title="compute",
        mark=1,
        gives_way=3,
    ),
    _multiple(
        "routing_worth",
        "What learned routing is worth: its compute multiplier over that of a layer with a detached frozen router.",
        reason=lambda e: _text(e.worth.routing_worth_reason),
        title="worth of routing",
        short_title="routing",
        mark=1,
        gives_way=4,
    ),
    _multiple(
        "capacity_worth",
        "The compute multiplier of that layer with a detached frozen router: what sparse capacity is worth without "
        "learned routing.",
        detail="worth of sparse capacity",
    ),
    _multiple(
        "wall_clock_multiplier",
        "Seconds of training of a dense model of equal test loss, over its own.",
        detail="wall-clock multiplier",
    ),
    _multiple(
        "parameter_multiplier",
        "Parameters of a dense model of equal test loss, over its own: what memory it saves.",
        detail="parameter multiplier",
    ),
    _interval(
        "gain_recovered",
        "The share of what an oracle gains over the detached frozen router, in loss: 0 for none, 1 for the oracle.",
        read=lambda e: e.worth.gain_recovered,
        reason=lambda e: _text(e.worth.gain_recovered_reason),
        csv=lambda e, own: bounds(own.key, e.worth.gain_recovered),
        cell=lambda e: with_interval(e.worth.gain_recovered, 2),
        title="routing gain recovered",
        short_title="recovered",
        best="high",
        places=2,
        drawn=False,
        on=lambda board: any(e.worth.gain_recovered for rung in board.rungs for e in rung.entries),
        gives_way=5,
    ),
    _interval(
        "route_regret",
        "By how much its loss is higher, in nats, or its score worse, under routes drawn at random: 0 where the choice "
        "carries nothing.",
        read=lambda e: e.worth.route_regret,
        csv=lambda e, own: bounds(own.key, e.worth.route_regret),
        cell=lambda e: with_interval(e.worth.route_regret),
        title="route regret",
        short_title="regret",
        best="high",
        drawn=False,
        on=lambda board: any(e.worth.route_regret for rung in board.rungs for e in rung.entries),
        gives_way=6,
    ),
    Column(
        key="steps_to_dense",
        help="The share of the training steps after which its validation loss is that of dense at the end.",
        read=lambda e: e.worth.steps_to_dense,
        detail="share of the steps to dense's loss",
        detail_form="{:.0%}",
    ),
    _of_tokens(
        "expert_information_token",
        "What a token's expert tells of its id, as a share of the experts' entropy, less what chance gives.",
        "expert tells the token id",
    ),
    _of_tokens("expert_information_group", "The same of its group, such as its domain.", "expert tells the group"),
    _of_tokens("expert_information_position", "The same of its position.", "expert tells the position"),
    *(
        _of_tokens(
            f"saturation_{share}",
            f"After {in_words(share)} of the steps, the share of a token's experts at the end that it had already.",
            f"routes that stay from {in_words(share)} of the steps on",
        )
        for share in SHARES
    ),
    _of_tokens(
        "co_activation",
        "How far a token's experts come in fixed pairs: 0 by chance, about 1 where each has one partner.",
        "experts in fixed pairs",
    ),
    Column(
        key="train_inputs_per_second",
        help="Inputs that training took in a second.",
        kind="amount",
        detail="training, inputs a second",
        detail_form="{:,.0f}",
    ),
    Column(
        key="train_peak_memory_mib",
        help="Peak memory of training in MiB.",
        kind="amount",
        detail="peak memory, training",
        detail_form="{:,.0f} MiB",
    ),
    _memory("forward_peak_memory_mib", "By how much memory grows in a forward pass, in MiB.", "peak memory, forward"),
    _memory(
        "resident_memory_mib",
        "Parameters, buffers and what a forward pass needs beside them, in MiB.",
        "memory with the model, batch {board.latency_batch}",
    ),
    _memory("resident_memory_batch1_mib", "The same of one input.", "memory with the model, batch 1"),
    Column(
        key="rank_survival",
        help="Share of resampled tunings in which its place stays inside its rank.",
        reason=lambda e: _text(e.rank_survival_reason),
        detail="rank survives resampled tunings",
        detail_form="{:.0%}",
    ),
    Column(
        key="order_turns",
        help="Share of resampled tunings in which the ranked row of next lower score is better.",
        detail="order with the next row turns round in",
        detail_form="{:.0%} of resampled tunings",
    ),
    Column(
        key="winners_curse",
        help="By how much its best trial is better than its final runs on validation data, mean over tasks.",
        detail="best trial less final runs, validation",
        detail_form="{:+.3f}",
    ),
    Column(
        key="conformance",
        help="Of a row of another author, how many of the checks of the contract its code holds.",
        csv=None,
        detail="checks",
        detail_form="{}",
        optional=True,
    ),
    Column(key="better_than", help="The ranked rows that it is significantly better than.", csv=None),
    Column(key="pareto", help="Whether it is on the Pareto front: front, undecided or beaten.", csv=None),
)


def _named(keys: str) -> tuple[Column, ...]:
    by_key = {column.key: column for column in COLUMNS}
    return tuple(by_key[key] for key in keys.split())


SHOWN = _named(
    "rank variant representation vs_dense compute_multiplier routing_worth gain_recovered route_regret score_beside "
    "selection_gain experts_gain specialization latency latency_batch1 active_params flops_per_input model_params "
    "model_flops_per_input training"
)
"""The columns of the tables that people read; each task's scores stand behind the representation."""

DETAILS = _named(
    "experts total_params active_params model_params flops_per_input model_flops_per_input latency latency_batch1 "
    "latency_token latency_layers train_step train_tokens_per_second train_inputs_per_second train_peak_memory_mib "
    "forward_peak_memory_mib resident_memory_mib resident_memory_batch1_mib steps_to_dense expert_information_token "
    "expert_information_group expert_information_position saturation_1_8 saturation_1_4 saturation_1_2 co_activation "
    "capacity_worth wall_clock_multiplier parameter_multiplier rank_survival order_turns winners_curse conformance"
)
"""What the page says of each row beside its table."""

COUNTED = tuple(column.key for column in COLUMNS if column.key in {field.name for field in fields(EntryCounts)})
"""The counts, in the order of JSON."""
