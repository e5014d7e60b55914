"""The figure of the perf suite: time and memory against what grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger import Point

AXES = {"tokens": "tokens", "experts": "experts E", "K": "experts a token K"}


def draw(points: Sequence[Point], path: Path) -> None:
    """Two rows of panels, milliseconds above and MiB below, one column for each axis, logarithmic all."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    layers = list(dict.fromkeys(point.layer for point in points))
    with mpl.rc_context({"svg.hashsalt": "moebench", "svg.fonttype": "none", "font.size": 9}):
        figure, panels = plt.subplots(2, len(AXES), figsize=(10, 6), layout="constrained", squeeze=False)
        for column, (axis, label) in enumerate(AXES.items()):
            for layer in layers:
                own = [point for point in points if (point.axis, point.layer) == (axis, layer)]
                at, ms = [point.at for point in own], [point.ms.median for point in own]
                (line,) = panels[0, column].loglog(at, ms, marker="o", markersize=3, label=layer)
                low, high = [point.ms.low for point in own], [point.ms.high for point in own]
                panels[0, column].fill_between(at, low, high, alpha=0.2, color=line.get_color())
                known = [point for point in own if point.mib]
                panels[1, column].loglog(
                    [point.at for point in known], [point.mib for point in known], marker="o", markersize=3
                )
            panels[1, column].set_xlabel(label)
            for row in range(2):
                ticks = sorted({point.at for point in points if point.axis == axis})
                panels[row, column].set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=45)
                panels[row, column].minorticks_off()
                panels[row, column].grid(alpha=0.3)
        panels[0, 0].set_ylabel("forward + backward, ms")
        panels[1, 0].set_ylabel("peak memory of a step, MiB")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(layers))
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
