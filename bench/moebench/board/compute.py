"""Loss against training compute: the ladder of dense sizes as a line, each layer as a point beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.board.model import Board, DenseLadder, Entry, Estimate, TaskResult
from moebench.board.numbers import short, shown_name
from moebench.board.scatter import place_labels
from moebench.board.style import INK, looks_of, panels, plain_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Loss against training compute"
READING = (
    "The line is dense at the sizes of the ladder. How far the line lies to the right of a point, at the height of the "
    "point, is its compute multiplier. Bars are 95 % intervals; both axes are logarithmic."
)
LOSS = "test_loss_nats"


def draw(board: Board, index: int) -> Figure | None:
    """A panel for each task with a ladder; None where there is none."""
    ladders = {ladder.task: ladder for ladder in board.dense_ladder if not ladder.reason}
    tasks = [n for n, note in enumerate(board.tasks) if note.name in ladders]
    if not tasks:
        return None
    figure, axes = panels(len(tasks), height=3.9, columns=2)
    for axis, n in zip(axes, tasks, strict=True):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("training FLOPs of the whole model")
        axis.set_title(f"{board.tasks[n].label}: test loss, nats")
        _ladder(axis, ladders[board.tasks[n].name])
        _rows(axis, board, index, n)
        plain_log(axis.xaxis, short)
        plain_log(axis.yaxis)
    return figure


def _ladder(axis: Axes, ladder: DenseLadder) -> None:
    values = [each.value for each in ladder.loss]
    axis.plot(ladder.flops, values, marker="o", color=INK, linewidth=2.0)
    for flops, loss in zip(ladder.flops, ladder.loss, strict=True):
        if loss.low is not None and loss.high is not None:
            axis.vlines(flops, loss.low, loss.high, color=INK, linewidth=1)


def _rows(axis: Axes, board: Board, index: int, task: int) -> None:
    looks, points = looks_of(board), list[tuple[float, float, str]]()
    for entry in board.rungs[index].entries:
        found = _point(entry, entry.tasks[task])
        if found is None:
            continue
        flops, loss = found
        look = looks[entry.variant]
        axis.plot([flops], [loss.value], marker="D" if entry.reference else "o", color=look.colour, linestyle="none")
        if loss.low is not None and loss.high is not None:
            axis.vlines(flops, loss.low, loss.high, color=look.colour, linewidth=1, alpha=0.6)
        points.append((flops, loss.value, shown_name(entry.variant, 26)))
    place_labels(axis, points, [True] * len(points))


def _point(entry: Entry, task: TaskResult) -> tuple[float, Estimate] | None:
    """Training FLOPs and loss of a row on a task; None where it lacks one, and of dense, which the line has."""
    named = {score.name: score.measure for score in task.scores}
    loss = named.get(LOSS) or (task.score if task.unit == "nats" else None)
    flops = task.training.flops if task.training else None
    return None if loss is None or flops is None or entry.implementation == "dense" else (float(flops), loss)
