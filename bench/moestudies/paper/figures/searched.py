"""The exhaustive search, and which experts serve which class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebench.board.style import BLUE, GREY, INK, ORANGE, RED, log2_ticks
from moebench.studies.claim import mean
from moebench.studies.evidence import Array, Evidence
from moebench.studies.plot import BANDS, DASHED, Plot, by_class, colour_bar, curve, frames, heat_map, legend
from moestudies.paper.claims.subsets import PART, ROW

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = (
    ("oracle", "best subset, label known", BLUE, "o", "-"),
    ("oracle_null", "its null: shuffled labels", RED, "D", "-"),
    ("all", "all experts", INK, "", DASHED),
    ("selected", "selected by Algorithm 1", ORANGE, "s", "-"),
    ("random", "random", GREY, "^", "-"),
)
PAPERS = {4: (0.9469, 0.4657), 8: (0.9990, 0.5195), 16: (1.0, 0.5894)}
"""E -> (best, random) in the paper, on MNIST."""

HEATED = (16, 64)


def _oracle(evidence: Evidence) -> Figure | None:
    numbers = [
        e for e in evidence.experts(PART, "oracle", ROW) if evidence.values(PART, "oracle", ROW, "oracle", experts=e)
    ]
    if not numbers:
        return None
    figure, (axis,) = frames([""], "experts E, of which k = E/4 act", "accuracy", height=3.5, ylim=(0, 1.04))
    for score, label, colour, marker, style in LINES:
        points = {float(e): evidence.values(PART, "oracle", ROW, score, experts=e) for e in numbers}
        curve(axis, points, colour, marker=marker, linestyle=style, label=label)
    for place, label in enumerate(("the paper's best (MNIST)", "the paper's random (MNIST)")):
        x, y = list(PAPERS), [values[place] for values in PAPERS.values()]
        colour, marker = ((BLUE, "o"), (GREY, "^"))[place]
        axis.plot(x, y, linestyle="none", marker=marker, markersize=7, color=colour, fillstyle="none", label=label)
    log2_ticks(axis, sorted({*numbers, *PAPERS}), [str(e) for e in sorted({*numbers, *PAPERS})])
    legend(figure, [axis])
    return figure


def _class_by_expert(evidence: Evidence) -> Figure | None:
    there = evidence.experts(PART, "final", ROW, least=8)
    found = {
        e: mass for e in ([n for n in HEATED if n in there] or there[:2]) if (mass := _mass(evidence, e)) is not None
    }
    if not found:
        return None
    ratios = {"width_ratios": [max(12, e) ** 0.6 for e in found]}
    figure, axes = frames([f"E = {e}" for e in found], "", "class", height=3.0, gridspec_kw=ratios)
    highest = max(2.0, *(float(np.quantile(mass, 0.99)) for mass in found.values()))
    for axis, (experts, mass_CE) in zip(axes, found.items(), strict=True):
        mesh = heat_map(axis, mass_CE, highest, [str(c) for c in range(len(mass_CE))])
        axis.set_xticks([0, experts], labels=["1", str(experts)])
    colour_bar(figure, mesh, axes, "mass (1: every expert alike)", extend="max")
    return figure


def _mass(evidence: Evidence, experts: int) -> Array | None:
    """(C, E) relative to an even share, experts sorted by the class of their largest mass."""
    return by_class(evidence.find(PART, "final", ROW, experts=experts), "class_mass_CE_0", relative=True)


def _oracle_words(evidence: Evidence) -> str:
    numbers = evidence.experts(PART, "oracle", ROW)
    for experts in reversed(numbers):
        best, null = (mean(evidence.values(PART, "oracle", ROW, s, experts=experts)) for s in ("oracle", "oracle_null"))
        if best and null:
            return (
                f"At E = {experts} the search is right for {best.value:.1%} of the inputs, and for {null.value:.1%} "
                "when the labels are shuffled: so much of it needs no specialization."
            )
    return ""


PLOTS = (
    Plot(
        name="oracle",
        part=PART,
        title="The best subset of k = E/4, and what the search alone finds",
        reading=f"An input counts for the best subset when any of all C(E, E/4) subsets gives its label. {BANDS}",
        draw=_oracle,
        seen=_oracle_words,
    ),
    Plot(
        name="class-by-expert",
        part=PART,
        title="Which experts serve which class",
        reading="Mean combine weight of an expert on the test inputs of a class, over that of an even router; first "
        "seed.",
        draw=_class_by_expert,
    ),
)
