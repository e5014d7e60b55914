"""The norm task: average error by E, and pairs of inputs with nearly equal outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moebench.board.style import BLUE, GREY, INK, ORANGE, SOFT, decades, log2_ticks, shades
from moebench.studies.claim import mean
from moebench.studies.evidence import Evidence, Run
from moebench.studies.plot import BANDS, Plot, curve, frames, legend, level
from moestudies.paper.claims.norm import EXPERTS, PART, READ_OFF, WIDTHS, error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = 1e-9
"""Gaps below it are drawn at the lower edge: in double precision they do not differ from 0."""

GAPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("trained", "5x2", {}),
    ("initial weights", "untrained 5x2", {"slots": 1, "normalise": False}),
    ("normalising router, initial weights", "untrained 5x2", {"slots": 1, "normalise": True}),
    ("residual, initial weights", "untrained 5x2 residual", {"slots": 1, "normalise": False}),
)
"""(title, row, settings) of the small multiples."""


def _norm_error(evidence: Evidence) -> Figure | None:
    widths = [
        w for w, row in WIDTHS.items() if any(error(evidence, a, e) for a in (row, f"{row} biases") for e in EXPERTS)
    ]
    if not widths:
        return None
    titles = [f"D = {width}: {10 // width} tokens of width {width}" for width in widths]
    x, y = "experts E, equal expert parameters", "test mean squared error"
    figure, axes = frames(titles, x, y, height=3.5, sharey=True)
    for axis, width in zip(axes, widths, strict=True):
        row = WIDTHS[width]
        for name, label, colour, marker in ((row, "no biases", BLUE, "o"), (f"{row} biases", "biases", ORANGE, "s")):
            curve(axis, {float(e): error(evidence, name, e) for e in EXPERTS}, colour, marker=marker, label=label)
        look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 8, "fillstyle": "none", "color": INK}
        axis.plot(EXPERTS, READ_OFF[width], label="the paper, no biases (read off)", **look)
        constant = evidence.values(PART, "final", row, "test_constant_mse")
        level(axis, constant, color=GREY, linewidth=1.1, label="a constant answer")
        log2_ticks(axis, EXPERTS, [str(e) for e in EXPERTS])
        axis.set_yscale("log")
        decades(axis.yaxis)
        axis.set_yticks([0.3, 1, 3, 10, 30], labels=["0.3", "1", "3", "10", "30"])
    axes[-1].legend(loc="lower left")
    return figure


def _gap_curves(evidence: Evidence) -> Figure | None:
    shown = []
    for title, row, settings in GAPS:
        runs = {r.setting("experts"): r for r in evidence.find(PART, "gaps", row, **settings) if r.arrays}
        if runs:
            shown.append((title, dict(sorted(runs.items()))))
    if not shown:
        return None
    titles, x, y = [title for title, _ in shown], "size of the inputs, a", "difference between A and B"
    figure, axes = frames(titles, x, y, height=2.9, columns=2, sharex=True, sharey=True)
    numbers = sorted({experts for _, runs in shown for experts in runs})
    colours = dict(zip(numbers, shades(len(numbers)), strict=True))
    for axis, (_, runs) in zip(axes, shown, strict=True):
        _gaps(axis, runs, colours)
    legend(figure, axes)
    return figure


def _gaps(axis: Axes, runs: dict[int, Run], colours: dict[int, str]) -> None:
    for place, (experts, run) in enumerate(runs.items()):
        scale_N = run.arrays["scale_N"]
        if place == 0:
            allowed: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (4, 2)), "label": "left open by the limit"}
            axis.plot(scale_N, run.arrays["norm_gap_N"], color=INK, linewidth=2, label="norms, |t(A) - t(B)|")
            axis.plot(scale_N, run.arrays["allowance_N"], color=SOFT, **allowed)
        output_N = np.maximum(run.arrays["output_gap_N"], FLOOR)
        axis.plot(scale_N, output_N, color=colours[experts], linewidth=1.4, label=f"answers, E = {experts}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(FLOOR, 1e5)
    decades(axis.xaxis)
    decades(axis.yaxis)


def _norm_words(evidence: Evidence) -> str:
    parts = []
    for width, row in WIDTHS.items():
        for name, which in ((row, "without"), (f"{row} biases", "with")):
            found = [(e, mean(error(evidence, name, e))) for e in EXPERTS]
            if all(value for _, value in found):
                numbers = ", ".join(f"{value.value:.3g}" for _, value in found if value)
                parts.append(f"D = {width} {which} biases {numbers}")
    return f"Measured at E = 1, 2, 5, 10: {'; '.join(parts)}." if parts else ""


PLOTS = (
    Plot(
        name="norm-error",
        part=PART,
        title="The norm: average error by number of experts",
        reading=f"Both axes logarithmic; fresh Gaussian inputs, sigma = 5. {BANDS}",
        draw=_norm_error,
        seen=_norm_words,
    ),
    Plot(
        name="norm-gaps",
        part=PART,
        title="The norm: pairs of inputs with nearly equal outputs",
        reading="Two inputs of different norms, made for the layer and scaled by a. Where a coloured line falls while "
        "the thick one stays above the dashed one, no answer read off the layer can be right within the limit for "
        "both. Differences below 1e-09 lie at the lower edge. 5 tokens of width 2, one slot, first seed.",
        draw=_gap_curves,
    ),
)
