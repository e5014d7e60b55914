"""Names beside points, where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moebench.drawing.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
