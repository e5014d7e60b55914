"""Figures: accuracy over the number of experts kept, at once and after recovery; over memory; time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.board.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SOFT, log2_ticks, panels
from moebench.studies.claim import mean, ratio
from moebench.studies.evidence import Evidence, Series
from moebench.studies.plot import BANDS, BARS, Plot, bar, curve
from moestudies.compress.arms import (
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

COLOURS = {
    MERGE.name: BLUE,
    FACTORED.name: PURPLE,
    UNALIGNED.name: GREEN,
    REAP.name: ORANGE,
    USAGE.name: RED,
    RANDOM.name: GREY,
}
MARKS = {
    MERGE.name: "o",
    FACTORED.name: "D",
    UNALIGNED.name: "v",
    REAP.name: "s",
    USAGE.name: "^",
    RANDOM.name: "x",
}


def accuracy_by_kept(evidence: Evidence) -> Figure | None:
    """Accuracy over the number kept: at once, and after recovery beside models that were trained small."""
    if not any(way.of(evidence, keep, "unrecovered") for way in WAYS for keep in KEEPS):
        return None
    figure, axes = panels(2, height=3.6)
    _curves(axes[0], evidence, (*WAYS, UNALIGNED), "unrecovered")
    _level(axes[0], ALL.of(evidence, EXPERTS, "before"))
    axes[0].set_title("at once")
    _curves(axes[1], evidence, WAYS, "after")
    curve(axes[1], {float(k): small(evidence, k) for k in TRAINED_SMALL}, INK, marker="P", label="trained small")
    _level(axes[1], whole(evidence))
    axes[1].set_title("after recovery")
    for axis in axes:
        log2_ticks(axis, KEEPS, [str(k) for k in KEEPS])
        axis.set_xlabel("experts kept in a layer, on average")
    axes[0].set_ylabel("test accuracy")
    shown = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend([*shown.values()], [*shown], loc="outside lower center", ncols=4)
    return figure


def _curves(axis: Axes, evidence: Evidence, ways: tuple[Way, ...], score: str) -> None:
    for way in ways:
        points = {float(keep): way.of(evidence, keep, score) for keep in KEEPS}
        curve(axis, points, COLOURS[way.name], marker=MARKS[way.name], label=way.name)


def _level(axis: Axes, values: Series) -> None:
    found = mean(values)
    if found:
        axis.axhline(found.value, color=SOFT, linewidth=1, linestyle=(0, (5, 2)), label="all experts")


def accuracy_by_memory(evidence: Evidence) -> Figure | None:
    """Accuracy after recovery over the parameters of the expert layers."""
    if not any(way.of(evidence, keep, "after") for way in WAYS for keep in KEEPS):
        return None
    figure, (axis,) = panels(1, height=3.6)
    for way in WAYS:
        points = {}
        for keep in KEEPS:
            size = mean(way.of(evidence, keep, "layers_params"))
            if size:
                points[size.value] = way.of(evidence, keep, "after")
        curve(axis, points, COLOURS[way.name], marker=MARKS[way.name], label=way.name)
    size = mean(ALL.of(evidence, EXPERTS, "layers_params"))
    if size:
        bar(axis, size.value, whole(evidence), INK, marker="P", label="all experts")
    axis.set_xscale("log", base=2)
    ticks = [2**power for power in range(14, 20)]
    log2_ticks(axis, ticks, [f"{tick:,}" for tick in ticks])
    axis.set_xlabel("parameters of the expert layers")
    axis.set_ylabel("test accuracy after recovery")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def times(evidence: Evidence) -> Figure | None:
    """Milliseconds of the whole model over those with all experts, by way and number kept."""
    if not milliseconds(evidence, "whole"):
        return None
    timed = [way for way in WAYS if milliseconds(evidence, f"{way.method} {KEEPS[0]}")]
    figure, axes = panels(2, height=0.42 * len(timed) * len(KEEPS) / 2 + 1.4, sharey=True)
    names = [f"{way.name}, {keep}" for way in timed for keep in KEEPS]
    for axis, batch in zip(axes, (1, 100), strict=True):
        for place, (way, keep) in enumerate((way, keep) for way in timed for keep in KEEPS):
            of = milliseconds(evidence, f"{way.method} {keep}", batch)
            share = ratio(of, milliseconds(evidence, "whole", batch))
            bar(axis, place, share, COLOURS[way.name], across=True, marker=MARKS[way.name], markersize=5.5)
        axis.axvline(1, color=SOFT, linewidth=1, linestyle=(0, (5, 2)))
        axis.set_title(f"batch {batch}")
        axis.set_xlabel("time over that of the whole model")
    axes[0].set_yticks(range(len(names)), labels=names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def accuracy_words(evidence: Evidence) -> str:
    """What is left at half."""
    said = []
    for way in WAYS:
        once, after = mean(way.of(evidence, KEEPS[0], "unrecovered")), mean(way.of(evidence, KEEPS[0], "after"))
        if once and after:
            said.append(f"{way.name} {once.value:.3f}, then {after.value:.3f}")
    found = mean(whole(evidence))
    return f"With {KEEPS[0]} of {EXPERTS}: {'; '.join(said)}; all experts {found.value:.3f}." if said and found else ""


PLOTS = (
    Plot(
        name="compress-accuracy",
        part=PART,
        title="What is left, at once and after recovery",
        reading=f"Dashed: all experts. Trained small: so many experts from the start, as many steps in all. {BANDS}",
        draw=accuracy_by_kept,
        seen=accuracy_words,
    ),
    Plot(
        name="compress-memory",
        part=PART,
        title="Accuracy for memory",
        reading=f"After recovery. {BANDS}",
        draw=accuracy_by_memory,
    ),
    Plot(
        name="compress-time",
        part=PART,
        title="Time",
        reading=f"Left of the dashed line: faster than the whole model. In turns in one process. {BARS}",
        draw=times,
    ),
)
