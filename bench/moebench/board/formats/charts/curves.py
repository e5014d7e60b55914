"""Curves of each row on each task: what is kept with a share of the experts, and what tuning effort buys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from moebench.board.formats import words
from moebench.board.formats.charts.rows import paints
from moebench.board.formats.numbers import shown_name
from moebench.board.model import Board, TaskResult
from moebench.board.shares import SHARES, in_words
from moebench.drawing.style import log2_ticks, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RETENTION = "What is kept with a share of the experts"
RETENTION_READING = (
    "Accuracy with a share of the experts, as a share of the accuracy with all of them; nothing is retrained. Lines: "
    "the experts of largest mass for each input; dots: the same experts for every input."
)
EFFORT = "Quality against tuning effort"
EFFORT_READING = "The best validation {score} to expect after so many random trials. The default's is not among them."

Curve = list[tuple[float, float]]


def retention(board: Board, index: int) -> Figure | None:
    """A panel for each task."""
    return _panels(board, index, [_kept("selected"), _kept("static")], _share_axis)


def effort(board: Board, index: int) -> Figure | None:
    """A panel for each task."""
    from matplotlib.ticker import MaxNLocator

    def expected(task: TaskResult) -> Curve:
        found = task.tuning.effort if task.tuning else ()
        return [(float(n), value) for n, value in enumerate(found, 1)] if len(found) > 1 else []

    def finish(axis: Axes, name: str) -> None:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("random trials")
        axis.set_title(f"{name}: validation {words.score_name(board)}")

    return _panels(board, index, [expected], finish)


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
) -> Figure | None:
    """The first curve of a row as its line, a second one as dots; every row looks the same in every panel."""
    entries = board.rungs[index].entries
    drawn = [(i, entry) for i, entry in enumerate(entries) if any(curves[0](task) for task in entry.tasks)]
    if not drawn:
        return None
    looks = paints(entries)
    figure, axes = panels(len(board.tasks), height=3.9, columns=2)
    for number, (axis, note) in enumerate(zip(axes, board.tasks, strict=True)):
        for i, entry in reversed(drawn):  # the first rows last, so that they lie above
            for which, curve in enumerate(curves):
                points = curve(entry.tasks[number])
                if points:
                    style = looks[i].line if which == 0 else {"color": looks[i].colour, "linestyle": "none"}
                    (line,) = axis.plot(
                        *zip(*points, strict=True), marker="o" if which else "", markersize=2.6, **style
                    )
                    line.set_gid(f"curve-{number}-{which}-{i}")
        finish(axis, note.label)
    _legend(figure, [(shown_name(e.variant, 26), looks[i].line) for i, e in drawn if looks[i].named])
    return figure


def _legend(figure: Figure, named: Sequence[tuple[str, dict[str, Any]]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **style) for _, style in named]
    figure.legend(handles=handles, labels=[name for name, _ in named], loc="outside right center")
