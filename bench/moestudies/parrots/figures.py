"""A figure for each task, beside it the same against the other axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.board.style import BLUE, ORANGE, SOFT, log2_ticks, shades
from moebench.studies.claim import mean
from moebench.studies.evidence import Evidence
from moebench.studies.plot import BANDS, BARS, DASHED, Plot, bar, curve, frames
from moestudies.parrots.rows import (
    KNOWN,
    NARROW,
    PATHS,
    RECALL,
    SIZES,
    Model,
    by_experts,
    by_width,
    pairs_known,
    paths,
    recall,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = ("equal active parameters", "equal totals")


def _labels(models: list[Model]) -> list[str]:
    """What differs between the models of one axis."""
    if len({model.width for model in models}) == 1:
        return [f"E = {model.experts}" if model.experts > 1 else "dense" for model in models]
    return [f"D = {model.width}, E = {model.experts}" for model in models]


def _recall_curves(evidence: Evidence) -> Figure | None:
    of_axis = [by_experts(evidence, RECALL), by_width()]
    if not any(recall(evidence, model, pairs) for models in of_axis for model in models for pairs in SIZES):
        return None
    x, y = "pairs in the book", "share of numbers recalled"
    figure, axes = frames(AXES, x, y, height=3.3, ylim=(0, 1.04), sharey=True)
    for axis, models in zip(axes, of_axis, strict=True):
        for model, label, colour in zip(models, _labels(models), shades(len(models)), strict=True):
            curve(axis, {pairs: recall(evidence, model, pairs) for pairs in SIZES}, colour, marker="o", label=label)
        axis.axhline(KNOWN, color=SOFT, linewidth=0.9, linestyle=DASHED)
        log2_ticks(axis, SIZES[::4], [f"{pairs:,}" for pairs in SIZES[::4]])
        axis.legend(loc="lower left")
    return figure


def _paths_by_model(evidence: Evidence) -> Figure | None:
    of_axis = [by_experts(evidence, PATHS), by_width()]
    if not any(paths(evidence, model) for models in of_axis for model in models):
        return None
    figure, axes = frames(AXES, "", "share of paths right", height=3.1, ylim=(0, 1.04), sharey=True)
    for axis, models, colour in zip(axes, of_axis, (BLUE, ORANGE), strict=True):
        for place, model in enumerate(models):
            bar(axis, place, paths(evidence, model), colour, markersize=6)
        axis.set_xticks(range(len(models)), labels=_labels(models))
        axis.set_xlim(-0.5, len(models) - 0.5)
        axis.grid(axis="x", visible=False)
    return figure


def _recall_words(evidence: Evidence) -> str:
    models = by_experts(evidence, RECALL)
    found = zip(_labels(models), [mean(pairs_known(evidence, model)) for model in models], strict=True)
    parts = [f"{value.value:,.0f} pairs ({label})" for label, value in found if value]
    return f"Known by heart at equal active parameters: {', '.join(parts)}." if parts else ""


def _paths_words(evidence: Evidence) -> str:
    found = [(model.width, mean(paths(evidence, model))) for model in by_width()]
    parts = [f"{value.value:.1%} (D = {width})" for width, value in found if value]
    return f"Right at equal totals: {', '.join(parts)}." if parts else ""


PLOTS = (
    Plot(
        name="recall",
        part=RECALL,
        title="Phone book: what is known by heart",
        reading=f"Every model is trained for the same number of steps. Dashed: the {KNOWN:.0%} at which a book counts "
        f"as known. Left: D = {NARROW}. {BANDS}",
        draw=_recall_curves,
        seen=_recall_words,
    ),
    Plot(
        name="paths",
        part=PATHS,
        title="Shortest path: what is found",
        reading=f"A path is right when every node of it is. Left: D = {NARROW}. {BARS}",
        draw=_paths_by_model,
        seen=_paths_words,
    ),
)
