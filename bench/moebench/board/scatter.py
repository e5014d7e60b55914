"""Quality against cost, with both intervals and the front of the points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moebench.board import words
from moebench.board.model import Board, Entry, Estimate, Rung
from moebench.board.numbers import short, shown_name
from moebench.board.rules import NULL
from moebench.board.style import GREY, INK, LINE, PAPER, SOFT, Paint, looks_of, panels, plain_log
from moebench.plans.rows import BASELINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Quality against cost"
OF_ONE = "Quality against cost, one input at a time"
READING = (
    "{good} and to the left is better. Bars are the 95 % intervals of the table. {points} diamonds are not ranked. "
    "Broken lines cross at dense and at the router that nothing steers. The grey stairs join the ranked points that no "
    "other beats in these two measures."
)
FRONT = (
    "Filled: certainly on the Pareto front of quality, latency and active parameters; pale: perhaps; hollow: certainly "
    "not;"
)
NAMED = 20
"""Rows at most that all have a label; of more, the first, dense and those on the front."""

ROW = "row:"
"""What a point links to, followed by the place of its row; names never get into a link."""

Point = tuple[int, Entry, float, float]
"""Place in the rung, row, milliseconds, score."""

SIZE = 8
"""Points; a letter is about 0.6 of it wide."""

PLACES = tuple(
    (dx * far, dy * far)
    for far in (7, 12, 19, 27)
    for dx, dy in ((1, 0.6), (1, -0.6), (-1, 0.6), (-1, -0.6), (0, 1.2), (0, -1.2))
)
"""Offsets that are tried in turn, in points, from the nearest."""

OUTSIDE = 1000.0
"""Square points."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points."""


def _across(entries: Sequence[Entry], board: Board) -> tuple[Callable[[Entry], float | None], str]:
    """What the drawing has across, and its name: latency, or FLOPs where no row was timed."""
    if any(entry.latency for entry in entries):
        across = f"milliseconds of a forward pass at batch {board.latency_batch}"
        return lambda entry: entry.latency.value if entry.latency else None, across
    return lambda entry: entry.counts.flops_per_input if entry.counts else None, "FLOPs per input of the expert layers"


def reading(board: Board) -> str:
    """How to read it."""
    return READING.format(good="Up" if board.tasks[0].higher_is_better else "Down", points=FRONT)


def task_reading(board: Board, task: int) -> str:
    """The same of the drawing of one task, which knows no front."""
    good = "Up" if board.tasks[task].higher_is_better else "Down"
    return READING.format(good=good, points="Circles are ranked by the mean of all tasks;")


def reading_of_one(board: Board) -> str:
    """The same of the drawing at batch 1, which knows no front."""
    good = "Up" if board.tasks[0].higher_is_better else "Down"
    return READING.format(good=good, points="Circles are ranked;")


def draw_of_one(board: Board, index: int) -> Figure | None:
    """:func:`draw` with the latency at batch 1; nothing where that is the suite's batch, or was not measured, or where
    so many rows would make the page large: their table has it.
    """
    rung = board.rungs[index]
    timed = any(entry.latency_batch1 and entry.representation for entry in rung.entries)
    if board.latency_batch == 1 or not timed or len(rung.entries) > words.MANY_ROWS:
        return None
    entries = [replace(e, latency=e.latency_batch1, pareto=None) for e in rung.entries]
    rungs = (*board.rungs[:index], replace(rung, entries=tuple(entries)), *board.rungs[index + 1 :])
    return draw(replace(board, latency_batch=1, rungs=rungs), index)


def draw(board: Board, index: int) -> Figure | None:
    """A point for each row that has a score; those without a latency stand at the left edge."""
    rung = board.rungs[index]
    scored = [(i, e, e.representation) for i, e in enumerate(rung.entries) if e.representation is not None]
    if not scored:
        return None
    cost, said = _across([e for _, e, _ in scored], board)
    times = [spent for _, e, _ in scored if (spent := cost(e)) is not None]
    edge = min(times) * 0.8 if times else 1.0
    points: list[Point] = [(i, e, spent if (spent := cost(e)) is not None else edge, r.value) for i, e, r in scored]
    figure, (axis,) = panels(1, height=4.4, width=4.4)
    looks = looks_of(board)
    if times and max(times) > 4 * min(times):
        axis.set_xscale("log")
        plain_log(axis.xaxis, "{:g}".format if max(times) < 1e4 else short)
    _stairs(axis, [p for p in points if p[1].rank and cost(p[1]) is not None], board.tasks[0].higher_is_better)
    _crossing(axis, points, looks)
    _bars(axis, points)
    _marks(axis, points, looks)
    if len(times) < len(points) and times:
        axis.axvline(edge * 1.1, color=LINE, linewidth=1, linestyle=(0, (2, 2)))
        axis.text(edge, 1.0, "not known", transform=axis.get_xaxis_transform(), ha="center", fontsize=8, color=SOFT)
    axis.set_xlabel(said)
    axis.set_title(f"test {words.score_name(board)}")
    place_labels(axis, [(x, y, shown_name(e.variant, 26)) for _, e, x, y in points], _named(points))
    return figure


def draw_task(board: Board, index: int, task: int) -> Figure | None:
    """:func:`draw` with the scores on the task of that place."""
    rung = board.rungs[index]
    entries = [replace(e, representation=e.tasks[task].score, pareto=None) for e in rung.entries]
    rungs = (*board.rungs[:index], replace(rung, entries=tuple(entries)), *board.rungs[index + 1 :])
    return draw(replace(board, tasks=(board.tasks[task],), rungs=rungs), index)


def left_out(rung: Rung) -> str:
    """Rows that no point stands for."""
    names = [shown_name(e.variant) for e in rung.entries if e.representation is None]
    return f"Not drawn, for want of a score: {', '.join(names)}." if names else ""


def _named(points: Sequence[Point]) -> list[bool]:
    if len(points) <= NAMED:
        return [True] * len(points)
    front = [e.pareto == "front" for _, e, _, _ in points]
    few = sum(front) <= NAMED
    return [i < 3 or e.variant == BASELINE or (few and front[n]) for n, (i, e, _, _) in enumerate(points)]


def _stairs(axis: Axes, points: Sequence[Point], higher: bool) -> None:
    """The step line through the points that no other ranked one beats in score and time."""
    sign = 1 if higher else -1
    steps: list[tuple[float, float]] = []
    for x, y in sorted(((x, y) for _, _, x, y in points), key=lambda point: (point[0], -sign * point[1])):
        if not steps or sign * y > sign * steps[-1][1]:
            steps.append((x, y))
    if len(steps) > 1:
        axis.step(*zip(*steps, strict=True), where="post", color=GREY, linewidth=1, alpha=0.7, zorder=1)


def _bars(axis: Axes, points: Sequence[Point]) -> None:
    thin: dict[str, Any] = {
        "color": SOFT,
        "alpha": 0.45,
        "linewidth": 1.1 if len(points) <= NAMED else 0.5,
        "zorder": 2,
    }
    upright = [(x, *ends) for _, e, x, _ in points if (ends := _ends(e.representation))]
    across = [(y, *ends) for _, e, _, y in points if (ends := _ends(e.latency))]
    for draw, bars in ((axis.vlines, upright), (axis.hlines, across)):
        if bars:
            draw(*zip(*bars, strict=True), **thin)


def _ends(measure: Estimate | None) -> tuple[float, float] | None:
    if measure is None or measure.low is None or measure.high is None:
        return None
    return measure.low, measure.high


def _crossing(axis: Axes, points: Sequence[Point], looks: Mapping[str, Paint]) -> None:
    """Lines at the scores of dense and of the router that nothing steers."""
    dense = [point for point in points if point[1].variant == BASELINE]
    for _, entry, _, y in [*dense, *[point for point in points if point[1].implementation == NULL][:1]]:
        axis.axhline(y, color=looks[entry.variant].colour, linewidth=0.8, alpha=0.6, linestyle=(0, (3, 2)), zorder=1)


def _marks(axis: Axes, points: Sequence[Point], looks: Mapping[str, Paint]) -> None:
    """The points; each links to its row."""
    for ranked, marker in ((True, "o"), (False, "D")):
        shown = [p for p in points if (p[1].rank is not None) == ranked]
        if shown:
            marks = axis.scatter(
                [x for _, _, x, _ in shown],
                [y for _, _, _, y in shown],
                s=(42 if ranked else 30) if len(points) <= NAMED else 16,
                marker=marker,
                c=[_face(e, looks[e.variant].colour) for _, e, _, _ in shown],
                edgecolors=[looks[e.variant].colour for _, e, _, _ in shown],
                linewidths=1.4,
                zorder=3,
            )
            marks.set_urls([f"{ROW}{i}" for i, _, _, _ in shown])


def _face(entry: Entry, colour: str) -> Any:
    """Filled on the Pareto front, pale where that is not certain."""
    from matplotlib.colors import to_rgba

    return {"front": colour, "undecided": to_rgba(colour, 0.35)}.get(entry.pareto or "", PAPER)


def place_labels(axis: Axes, points: Sequence[tuple[float, float, str]], shown: Sequence[bool]) -> None:
    """Write the names of the points that are shown, each where it covers the fewest points and names before it."""
    axis.margins(0.09)
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    at = [tuple(scale * c for c in axis.transData.transform((x, y))) for x, y, _ in points]
    left, bottom, right, top = (scale * edge for edge in axis.bbox.extents)
    taken: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    for (x, y), (data_x, data_y, name), wanted in zip(at, points, shown, strict=True):
        if not wanted:
            continue
        boxes = [_box(x, y, place, name) for place in PLACES]
        costs = [_cost(box, taken, (left, bottom, right, top)) for box in boxes]
        best = costs.index(min(costs))
        place = PLACES[best]
        taken.append(boxes[best])
        axis.annotate(
            name,
            (data_x, data_y),
            xytext=place,
            textcoords="offset points",
            ha="left" if place[0] > 0 else "right" if place[0] < 0 else "center",
            va="center",
            fontsize=SIZE,
            color=INK,
            zorder=4,
        )


def _cost(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """The area that it covers of others; outside the frame costs more than any place inside it."""
    outside = box[0] < frame[0] or box[2] > frame[2] or box[1] < frame[1] or box[3] > frame[3]
    return sum(_overlap(box, other) for other in taken) + OUTSIDE * outside


def _box(x: float, y: float, place: tuple[float, float], name: str) -> Box:
    width, (dx, dy) = 0.6 * SIZE * len(name), place
    start = x + dx - (0 if dx > 0 else width if dx < 0 else width / 2)
    return (start, y + dy - SIZE / 2, start + width, y + dy + SIZE / 2)


def _overlap(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
