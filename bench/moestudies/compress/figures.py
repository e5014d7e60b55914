"""Figures: accuracy over the number of experts kept, at once and after recovery; over memory; time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.board.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SOFT, log2_ticks
from moebench.studies.claim import mean, ratio
from moebench.studies.evidence import Evidence
from moebench.studies.plot import BANDS, BARS, DASHED, Plot, bar, curve, frames, legend, level, row_names
from moestudies.compress.rows import (
    ALL,
    EXPERTS,
    FACTORED,
    KEEPS,
    MERGE,
    PART,
    RANDOM,
    REAP,
    TRAINED_SMALL,
    UNALIGNED,
    USAGE,
    WAYS,
    Way,
    milliseconds,
    small,
    whole,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    MERGE.name: (BLUE, "o"),
    FACTORED.name: (PURPLE, "D"),
    UNALIGNED.name: (GREEN, "v"),
    REAP.name: (ORANGE, "s"),
    USAGE.name: (RED, "^"),
    RANDOM.name: (GREY, "x"),
}
"""Colour and marker."""


def _accuracy_by_kept(evidence: Evidence) -> Figure | None:
    if not any(way.of(evidence, keep, "unrecovered") for way in WAYS for keep in KEEPS):
        return None
    x = "experts kept in a layer, on average"
    figure, axes = frames(("at once", "after recovery"), x, "test accuracy", height=3.6)
    _curves(axes[0], evidence, (*WAYS, UNALIGNED), "unrecovered")
    level(axes[0], ALL.of(evidence, EXPERTS, "before"), label="all experts")
    _curves(axes[1], evidence, WAYS, "after")
    curve(axes[1], {float(k): small(evidence, k) for k in TRAINED_SMALL}, INK, marker="P", label="trained small")
    level(axes[1], whole(evidence), label="all experts")
    for axis in axes:
        log2_ticks(axis, KEEPS, [str(k) for k in KEEPS])
    legend(figure, axes, loc="outside lower center", ncols=4)
    return figure


def _curves(axis: Axes, evidence: Evidence, ways: tuple[Way, ...], score: str) -> None:
    for way in ways:
        points = {float(keep): way.of(evidence, keep, score) for keep in KEEPS}
        colour, marker = LOOKS[way.name]
        curve(axis, points, colour, marker=marker, label=way.name)


def _accuracy_by_memory(evidence: Evidence) -> Figure | None:
    if not any(way.of(evidence, keep, "after") for way in WAYS for keep in KEEPS):
        return None
    x, y = "parameters of the expert layers", "test accuracy after recovery"
    figure, (axis,) = frames([""], x, y, height=3.6)
    for way in WAYS:
        points = {}
        for keep in KEEPS:
            size = mean(way.of(evidence, keep, "layers_params"))
            if size:
                points[size.value] = way.of(evidence, keep, "after")
        colour, marker = LOOKS[way.name]
        curve(axis, points, colour, marker=marker, label=way.name)
    size = mean(ALL.of(evidence, EXPERTS, "layers_params"))
    if size:
        bar(axis, size.value, whole(evidence), INK, marker="P", label="all experts")
    ticks = [2**power for power in range(14, 20)]
    log2_ticks(axis, ticks, [f"{tick:,}" for tick in ticks])
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _times(evidence: Evidence) -> Figure | None:
    if not milliseconds(evidence, "whole"):
        return None
    timed = [way for way in WAYS if milliseconds(evidence, f"{way.method} {KEEPS[0]}")]
    rows, batches = [(way, keep) for way in timed for keep in KEEPS], (1, 100)
    titles, x = [f"batch {batch}" for batch in batches], "time over that of the whole model"
    figure, axes = frames(titles, x, height=0.42 * len(rows) / 2 + 1.4, sharey=True)
    for axis, batch in zip(axes, batches, strict=True):
        for place, (way, keep) in enumerate(rows):
            of = milliseconds(evidence, f"{way.method} {keep}", batch)
            share = ratio(of, milliseconds(evidence, "whole", batch))
            colour, marker = LOOKS[way.name]
            bar(axis, place, share, colour, across=True, marker=marker, markersize=5.5)
        axis.axvline(1, color=SOFT, linewidth=1, linestyle=DASHED)
    row_names(axes[0], [f"{way.name}, {keep}" for way, keep in rows])
    return figure


def _accuracy_words(evidence: Evidence) -> str:
    parts = []
    for way in WAYS:
        once, after = mean(way.of(evidence, KEEPS[0], "unrecovered")), mean(way.of(evidence, KEEPS[0], "after"))
        if once and after:
            parts.append(f"{way.name} {once.value:.3f}, then {after.value:.3f}")
    found = mean(whole(evidence))
    return (
        f"With {KEEPS[0]} of {EXPERTS}: {'; '.join(parts)}; all experts {found.value:.3f}." if parts and found else ""
    )


PLOTS = (
    Plot(
        name="compress-accuracy",
        part=PART,
        title="What is left, at once and after recovery",
        reading=f"Dashed: all experts. Trained small: so many experts from the start, as many steps in all. {BANDS}",
        draw=_accuracy_by_kept,
        seen=_accuracy_words,
    ),
    Plot(
        name="compress-memory",
        part=PART,
        title="Accuracy for memory",
        reading=f"After recovery. {BANDS}",
        draw=_accuracy_by_memory,
    ),
    Plot(
        name="compress-time",
        part=PART,
        title="Time",
        reading=f"Left of the dashed line: faster than the whole model. In turns in one process. {BARS}",
        draw=_times,
    ),
)
