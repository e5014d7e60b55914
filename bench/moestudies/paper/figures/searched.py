"""The exhaustive search, and which experts serve which class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebench.board.style import BLUE, GREY, INK, ORANGE, RED, SOFT, log2_ticks, panels
from moebench.studies.claim import mean
from moebench.studies.evidence import Array, Evidence
from moebench.studies.plot import curve
from moestudies.paper.claims.subsets import ARM, PART

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = (
    ("oracle", "best subset, label known", BLUE, "o", "-"),
    ("oracle_null", "its null: shuffled labels", RED, "D", "-"),
    ("all", "all experts", INK, "", (0, (5, 2))),
    ("selected", "selected by Algorithm 1", ORANGE, "s", "-"),
    ("random", "random", GREY, "^", "-"),
)
PAPERS = {4: (0.9469, 0.4657), 8: (0.9990, 0.5195), 16: (1.0, 0.5894)}
"""E -> (best, random) in the paper, on MNIST."""

HEATED = (16, 64)


def oracle(evidence: Evidence) -> Figure | None:
    """Accuracy with k = E/4 against E: the best subset, its null, all, selected, random."""
    numbers = [
        e for e in evidence.experts(PART, "oracle", ARM) if evidence.values(PART, "oracle", ARM, "oracle", experts=e)
    ]
    if not numbers:
        return None
    figure, (axis,) = panels(1, height=3.5)
    for score, label, colour, marker, style in LINES:
        points = {float(e): evidence.values(PART, "oracle", ARM, score, experts=e) for e in numbers}
        curve(axis, points, colour, marker=marker, linestyle=style, label=label)
    for place, label in enumerate(("the paper's best (MNIST)", "the paper's random (MNIST)")):
        x, y = list(PAPERS), [values[place] for values in PAPERS.values()]
        colour, marker = ((BLUE, "o"), (GREY, "^"))[place]
        axis.plot(x, y, linestyle="none", marker=marker, markersize=7, color=colour, fillstyle="none", label=label)
    log2_ticks(axis, sorted({*numbers, *PAPERS}), [str(e) for e in sorted({*numbers, *PAPERS})])
    axis.set_xlabel("experts E, of which k = E/4 act")
    axis.set_ylabel("accuracy")
    axis.set_ylim(0, 1.04)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right center")
    return figure


def class_by_expert(evidence: Evidence) -> Figure | None:
    """Mean mass of each expert on the inputs of each class over that of an even router, of the first seed."""
    there = evidence.experts(PART, "final", ARM, least=8)
    found = {
        e: mass for e in ([n for n in HEATED if n in there] or there[:2]) if (mass := _mass(evidence, e)) is not None
    }
    if not found:
        return None
    figure, axes = panels(len(found), height=3.0, gridspec_kw={"width_ratios": [max(12, e) ** 0.6 for e in found]})
    highest = max(2.0, *(float(np.quantile(mass, 0.99)) for mass in found.values()))
    mesh = None
    for axis, (experts, mass_CE) in zip(axes, found.items(), strict=True):
        mesh = axis.pcolormesh(mass_CE, cmap="cividis", vmin=0, vmax=highest, edgecolors="face", linewidth=0.3)
        axis.set_title(f"E = {experts}")
        axis.set_yticks(np.arange(len(mass_CE)) + 0.5, labels=[str(c) for c in range(len(mass_CE))])
        axis.set_xticks([0, experts], labels=["1", str(experts)])
        axis.set_ylim(len(mass_CE), 0)
        axis.grid(visible=False)
    axes[0].set_ylabel("class")
    figure.supxlabel("experts, in the order of the class that each serves most", fontsize="medium")
    assert mesh is not None
    colours = figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.01, extend="max")
    colours.set_label("mass (1: every expert alike)")
    assert colours.solids is not None
    colours.solids.set(rasterized=False, edgecolor="face", linewidth=0.3)  # a page shows no image from within
    colours.outline.set_edgecolor(SOFT)
    return figure


def _mass(evidence: Evidence, experts: int) -> Array | None:
    """(C, E) relative to an even share, experts sorted by the class of their largest mass."""
    for run in evidence.find(PART, "final", ARM, experts=experts):
        mass_CE = run.arrays.get("class_mass_CE_0")
        if mass_CE is not None and mass_CE.ndim == 2:
            even_CE = mass_CE / mass_CE.mean(axis=1, keepdims=True)
            order = np.lexsort((-even_CE.max(axis=0), even_CE.argmax(axis=0)))
            ordered: Array = even_CE[:, order]
            return ordered
    return None


def oracle_words(evidence: Evidence) -> str:
    """What the search finds at the most experts, beside its null."""
    numbers = evidence.experts(PART, "oracle", ARM)
    for experts in reversed(numbers):
        best, null = (mean(evidence.values(PART, "oracle", ARM, s, experts=experts)) for s in ("oracle", "oracle_null"))
        if best and null:
            return (
                f"At E = {experts} the search is right for {best.value:.1%} of the inputs, and for {null.value:.1%} "
                "when the labels are shuffled: so much of it needs no specialization."
            )
    return ""
