"""Time and FLOPs against the number of experts that act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moebench.board.style import BLUE, GREEN, INK, ORANGE, PURPLE, SOFT, log2_ticks
from moebench.studies.evidence import Evidence, Run
from moebench.studies.plot import Plot, frames, legend, share_label
from moestudies.paper.claims.latency import BATCHES, IDEAL, LAYER, MODELS, PART, allowed, speed_up, timed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYERS = (LAYER, "E=64 H=3840 D=768")
SHARES = (1, 2, 4, 8)
LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (INK, "v"), (SOFT, "P"))


def _layer_cost(evidence: Evidence) -> Figure | None:
    runs = [run for row in LAYERS for run in _first(evidence, row)]
    if not runs:
        return None
    return _panels(runs, [f"E = {run.setting('experts')}" for run in runs], "layers")


def _model_cost(evidence: Evidence) -> Figure | None:
    runs = [(row, run) for row in MODELS for run in _first(evidence, row)]
    if not runs:
        return None
    return _panels([run for _, run in runs], [f"{row}, E = {run.setting('experts')}" for row, run in runs], "model")


def _first(evidence: Evidence, row: str) -> list[Run]:
    """The first seed's run of each E, in order."""
    found = {run.setting("experts"): run for run in evidence.find(PART, "cost", row) if run.index == 0}
    return [found[experts] for experts in sorted(found)]


def _panels(runs: list[Run], labels: list[str], part: str) -> Figure:
    titles = [*(f"time, batch {batch} (ms)" for batch in BATCHES), "FLOPs per input (M)"]
    figure, axes = frames(titles, "share of the experts, k/E", height=3.4)
    for run, label, (colour, marker) in zip(runs, labels, LOOKS * 2, strict=False):
        for axis, batch in zip(axes, BATCHES, strict=False):
            _times(axis, run, part, batch, colour, marker, label)
        _flops(axes[-1], run, part, colour, marker)
    for axis in axes:
        log2_ticks(axis, [1 / s for s in SHARES], [share_label(1 / s) for s in SHARES])
        axis.set_xlim(0.105, 1.19)
        axis.set_yscale("log")
        _readable(axis)
    legend(figure, axes, loc="outside lower center", ncols=3)
    return figure


def _times(axis: Axes, run: Run, part: str, batch: int, colour: str, marker: str, label: str) -> None:
    experts = run.setting("experts")
    ks = {experts // share: 1 / share for share in SHARES if experts % share == 0}
    found = [(x, each) for k, x in ks.items() if (each := timed(run, part, k, batch))]
    if not found:
        return
    x = [x for x, _ in found]
    middle, low, high = np.array([times for _, times in found]).T
    axis.errorbar(
        x,
        middle,
        yerr=[middle - low, high - middle],
        color=colour,
        marker=marker,
        capsize=0,
        elinewidth=1.3,
        label=label,
    )
    bounds = [(x, run.record.scores.get(f"k={k} layers_bound_ms batch={batch}")) for k, x in ks.items()]
    known = [(x, bound) for x, bound in bounds if bound is not None]
    if known and part == "layers":
        style: dict[str, Any] = {"linestyle": (0, (1.5, 1.5)), "linewidth": 1.3}
        axis.plot(*zip(*known, strict=True), color=colour, **style)


def _flops(axis: Axes, run: Run, part: str, colour: str, marker: str) -> None:
    experts = run.setting("experts")
    found = [(1 / s, run.record.scores.get(f"k={experts // s} {part}_flops")) for s in SHARES if experts % s == 0]
    points = [(x, flops / 1e6) for x, flops in found if flops is not None]
    if points:
        axis.plot(*zip(*points, strict=True), color=colour, marker=marker)


def _readable(axis: Axes) -> None:
    """Ticks at 1, 2, 3, 5 of each decade, as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 3, 5), numticks=12))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}"))


def _layer_words(evidence: Evidence) -> str:
    parts = []
    for run in _first(evidence, LAYER):
        for batch in BATCHES:
            found, bound = speed_up(run, "layers", IDEAL, batch), allowed(run, IDEAL, batch)
            if found and bound:
                parts.append(f"{found.value:.2f}x at batch {batch}, where the roofline allows {bound:.2f}x")
    return f"With a quarter of its experts the paper's layer is {', and '.join(parts)}." if parts else ""


def _model_words(evidence: Evidence) -> str:
    found = [
        (speed.value, f"{row}, E = {run.setting('experts')}, batch {batch}")
        for row in MODELS
        for run in _first(evidence, row)
        for batch in BATCHES
        if run.setting("experts") >= 8 and (speed := speed_up(run, "model", 8, batch))
    ]
    if not found:
        return ""
    least, most = min(found), max(found)
    between = f"between {least[0]:.2f} times ({least[1]}) and {most[0]:.2f} times ({most[1]}) as fast"
    return f"k = E/8 makes a whole model {between}."


PLOTS = (
    Plot(
        name="layer-cost",
        part=PART,
        title="What the paper's layer costs",
        reading="Bars are quartiles over rounds. Dotted: no computation that does as many FLOPs or "
        "reads as many weights is faster on this machine. Both axes logarithmic.",
        draw=_layer_cost,
        seen=_layer_words,
    ),
    Plot(
        name="model-cost",
        part=PART,
        title="What the whole models cost whose accuracy is quoted",
        reading="Bars are quartiles over rounds. Both axes logarithmic.",
        draw=_model_cost,
        seen=_model_words,
    ),
)
