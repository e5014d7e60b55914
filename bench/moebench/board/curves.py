"""Curves of each row: what is kept with a share of the experts, what tuning effort buys, quality against budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from moebench.board import words
from moebench.board.model import Board, Entry, Estimate, TaskResult
from moebench.board.numbers import shown_name
from moebench.board.rules import AXIS_WORDS
from moebench.board.style import decades, end_labels, log2_ticks, looks_of, panels, plain_log
from moebench.measures.scores.shares import SHARES, in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RETENTION = "What is kept with a share of the experts"
RETENTION_READING = (
    "Accuracy with a share of the experts, as a share of the accuracy with all of them; nothing is retrained. Lines: "
    "the experts of largest mass for each input; dots: the same experts for every input."
)
EFFORT = "Quality against tuning effort"

TRAINING = "Loss during training"
TRAINING_READING = (
    "Lines: mean training loss since the point before; dots: loss on a fixed part of the validation data. Means over "
    "the final runs, on a logarithmic axis."
)

LADDER = "Quality against budget"
LADDER_READING = (
    "A line for each row that is scored at every budget; bars are 95 % intervals. Lines that cross change places."
)

Curve = list[tuple[float, float]]


def retention(board: Board, index: int) -> Figure | None:
    """A panel for each task."""
    return _panels(board, index, [_kept("selected"), _kept("static")], _share_axis, at_ends=False)


def effort_reading(board: Board) -> str:
    """Of which trials the drawing of effort is."""
    score = words.score_name(board)
    if board.sampler == "random":
        return f"The best validation {score} to expect after so many random trials. The default's is not among them."
    return f"The best validation {score} to expect of so many of the trials, chosen at random from the design."


def effort(board: Board, index: int) -> Figure | None:
    """A panel for each task."""
    from matplotlib.ticker import MaxNLocator

    def expected(task: TaskResult) -> Curve:
        found = task.tuning.effort if task.tuning else ()
        return [(float(n), value) for n, value in enumerate(found, 1)] if len(found) > 1 else []

    def finish(axis: Axes, name: str) -> None:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("random trials" if board.sampler == "random" else "trials")
        axis.set_title(f"{name}: validation {words.score_name(board)}")

    return _panels(board, index, [expected], finish)


def training(board: Board, index: int) -> Figure | None:
    """A panel for each task."""
    units = {task.label: task.loss_unit for task in board.tasks}

    def points(name: str) -> Callable[[TaskResult], Curve]:
        def curve(task: TaskResult) -> Curve:
            steps, values = (getattr(task.curve, each, ()) for each in ("steps", name))
            return [(float(step), value) for step, value in zip(steps, values, strict=False) if value > 0]

        return curve

    def finish(axis: Axes, name: str) -> None:
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        if high < 100 * low:
            plain_log(axis.yaxis)
        else:
            decades(axis.yaxis)
        axis.set_xlabel("steps")
        axis.set_title(f"{name}: loss{f', {units[name]}' if units[name] else ''}")

    return _panels(board, index, [points("train_loss"), points("validation_loss")], finish, named_only=True)


def ladder(board: Board, index: int) -> Figure | None:
    """One panel; the order of rows and their looks are those of the first budget."""
    entries = board.rungs[index].entries
    lines = {i: _line(board, entry.variant) for i, entry in enumerate(entries)}
    drawn = {i: line for i, line in lines.items() if line}
    if not drawn:
        return None
    looks = looks_of(board)
    budgets = [rung.budget for rung in board.rungs]
    figure, (axis,) = panels(1, height=4.6)
    ends = []
    for place, (i, line) in enumerate(drawn.items()):
        shifted = [budget * (1 + 0.012 * (place - len(drawn) / 2)) for budget in budgets]
        look = looks[entries[i].variant]
        (mark,) = axis.plot(shifted, [m.value for m in line], marker="o", **look.line)
        mark.set_gid(f"curve-0-0-{i}")
        for x, m in zip(shifted, line, strict=True):
            if m.low is not None and m.high is not None:
                axis.plot([x, x], [m.low, m.high], color=look.colour, linewidth=1, alpha=0.5)
        if look.named:
            ends.append((line[-1].value, shown_name(entries[i].variant, 26), look.colour))
    axis.set_xscale("log")
    axis.set_xticks(budgets, labels=[f"{budget:,}" for budget in budgets])
    axis.set_xticks([], minor=True)
    axis.set_xlabel(f"{AXIS_WORDS[board.axis]} of the expert layers")
    axis.set_title(f"test {words.score_name(board)}")
    end_labels(axis, ends)
    return figure


def crossings(board: Board) -> str:
    """The pairs of rows whose ranks do not overlap at either end of the ladder, in opposite order, as a sentence."""
    first, *_, last = board.rungs
    low = {entry.variant: entry for entry in first.entries if entry.rank}
    high = {entry.variant: entry for entry in last.entries if entry.rank}
    found = [
        f"{shown_name(a)} is ahead of {shown_name(b)} at {first.budget:,} and behind it at {last.budget:,}"
        for x, y in combinations(sorted(low.keys() & high.keys()), 2)
        for a, b in ((x, y), (y, x))
        if _ahead(low[a], low[b]) and _ahead(high[b], high[a])
    ]
    if not found:
        return "No two rows change places with ranks that do not overlap at the smallest and at the largest budget."
    return f"By ranks that do not overlap, {'; '.join(found)}."


def _kept(which: str) -> Callable[[TaskResult], Curve]:
    def curve(task: TaskResult) -> Curve:
        scores = {score.name: score.measure for score in task.scores}
        whole = scores.get("accuracy_all_experts")
        parts = [(share, scores.get(f"accuracy_{which}_{key}")) for key, share in SHARES.items()]
        if whole is None or whole.value <= 0:
            return []
        known = [(share, part.value / whole.value) for share, part in parts if part is not None]
        return [*known, (1.0, 1.0)] if known else []

    return curve


def _share_axis(axis: Axes, name: str) -> None:
    log2_ticks(axis, [*SHARES.values(), 1.0], [*map(in_words, SHARES), "all"])
    axis.set_xlabel("share of the experts that act")
    axis.set_title(f"{name}: accuracy retained")


def _panels(
    board: Board,
    index: int,
    curves: Sequence[Callable[[TaskResult], Curve]],
    finish: Callable[[Axes, str], None],
    *,
    named_only: bool = False,
    at_ends: bool = True,
) -> Figure | None:
    """The first curve of a row as its line, a second one as dots; every row looks the same in every panel.

    named_only: of many rows only those that have a name beside the drawing. at_ends: names stand at the ends of the
    lines; else in a legend, where lines end in one point.
    """
    from matplotlib.lines import Line2D

    entries = board.rungs[index].entries
    drawn = [(i, entry) for i, entry in enumerate(entries) if any(curves[0](task) for task in entry.tasks)]
    if not drawn:
        return None
    looks = looks_of(board)
    drawn = [(i, entry) for i, entry in drawn if looks[entry.variant].named or not named_only]
    figure, axes = panels(len(board.tasks), height=3.9, columns=2)
    for number, (axis, note) in enumerate(zip(axes, board.tasks, strict=True)):
        ends = []
        for i, entry in reversed(drawn):  # the first rows last, so that they lie above
            for which, curve in enumerate(curves):
                points = curve(entry.tasks[number])
                if points:
                    look = looks[entry.variant]
                    style = look.line if which == 0 else {"color": look.colour, "linestyle": "none"}
                    if which == 0 and look.named:
                        ends.append((points[-1][1], shown_name(entry.variant, 26), look.colour))
                    (line,) = axis.plot(
                        *zip(*points, strict=True), marker="o" if which else "", markersize=2.6, **style
                    )
                    line.set_gid(f"curve-{number}-{which}-{i}")
        finish(axis, note.label)
        if at_ends:
            end_labels(axis, ends)
    if at_ends:
        return figure
    named = [(shown_name(e.variant, 26), looks[e.variant].line) for _, e in drawn if looks[e.variant].named]
    handles = [Line2D([], [], **style) for _, style in named]
    figure.legend(handles=handles, labels=[name for name, _ in named], loc="outside right center")
    return figure


def _ahead(a: Entry, b: Entry) -> bool:
    return a.rank is not None and b.rank is not None and a.rank[1] < b.rank[0]


def _line(board: Board, variant: str) -> list[Estimate]:
    """The row's score at each budget; empty where one is missing."""
    found = [entry.representation for rung in board.rungs for entry in rung.entries if entry.variant == variant]
    return [measure for measure in found if measure] if all(found) and len(found) == len(board.rungs) else []
