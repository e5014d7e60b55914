"""The gap over K, over E, and over the bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.board.style import BLUE, GREY, ORANGE, log2_ticks
from moebench.studies.claim import mean
from moebench.studies.evidence import Evidence
from moebench.studies.plot import BANDS, BARS, Plot, bar, curve, frames
from moestudies.generalization.models import (
    OVER_E,
    OVER_K,
    PART,
    all_gaps,
    by_seed,
    complexity,
    gaps,
    slope,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL = "test error less training error"


def _gap_by_number(evidence: Evidence) -> Figure | None:
    over = [gaps(evidence, OVER_K), gaps(evidence, OVER_E)]
    if not any(over):
        return None
    figure, axes = frames((LABEL, LABEL), sharey=True)
    names = ("K, experts that act, of 16", "E, experts of which two act")
    for axis, models, place, name, colour in zip(axes, over, (1, 0), names, (BLUE, ORANGE), strict=True):
        points = {float(model[place]): series for model, series in models.items()}
        curve(axis, points, colour, marker="o")
        if points:
            log2_ticks(axis, list(points), [f"{at:g}" for at in points])
        axis.set_xlabel(name)
    return figure


def _gap_by_bound(evidence: Evidence) -> Figure | None:
    models = all_gaps(evidence)
    if not models:
        return None
    figure, (axis,) = frames([LABEL], "sqrt(K (1 + log(E/K)))", height=3.6)
    over_k = gaps(evidence, OVER_K)
    for model, series in models.items():
        bar(axis, complexity(model), series, BLUE if model in over_k else ORANGE)
        if found := mean(series):
            text = f"{model[0]}, {model[1]}"
            axis.annotate(text, (complexity(model), found.value), xytext=(5, 3), textcoords="offset points", fontsize=7)
    lines = by_seed(models)
    if lines and len(models) > 1:
        steepness = sum(map(slope, lines.values())) / len(lines)
        x = [complexity(model) for model in models]
        level = sum(sum(gap.values()) for gap in lines.values()) / (len(lines) * len(models))
        ends = [min(x), max(x)]
        axis.plot(ends, [level + steepness * (at - sum(x) / len(x)) for at in ends], color=GREY, linewidth=1)
    return figure


def _errors(evidence: Evidence) -> str:
    accuracies = [mean(series) for series in all_gaps(evidence, "train_accuracy").values()]
    known = [1 - found.value for found in accuracies if found]
    return f"Training errors lie between {min(known):.3f} and {max(known):.3f}." if known else ""


PLOTS = (
    Plot(
        name="gap-by-number",
        part=PART,
        title="The gap, over experts that act and experts that are there",
        reading=f"Experts of one size everywhere. {BANDS}",
        draw=_gap_by_number,
        seen=_errors,
    ),
    Plot(
        name="gap-by-bound",
        part=PART,
        title="The gap against the bound",
        reading="A dot for each model, marked E, K: blue those over K, orange those over E; the line is the mean of "
        f"those fitted for each seed. {BARS}",
        draw=_gap_by_bound,
    ),
)
