"""Several layers with and without a residual; other routed layers; other conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moebench.board.style import INK, LINE, log2_ticks
from moebench.studies.claim import mean
from moebench.studies.evidence import Evidence
from moebench.studies.plot import BANDS, BARS, Plot, bar, curve, frames, legend, level, row_names, share_label
from moestudies.paper.claims.hosts import DEPTH, PLAIN, RESIDUAL, ROUTED, VARIANTS, worth
from moestudies.paper.claims.subsets import CONDITIONS, PAPERS, PART, ROW, accuracy
from moestudies.paper.figures.shares import KINDS, SHARES, by_share, share_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _depth(evidence: Evidence) -> Figure | None:
    numbers = sorted({e for row in (PLAIN, RESIDUAL) for e in evidence.experts(DEPTH, "subset", row)})
    if not numbers:
        return None
    places = [(experts, row) for experts in numbers for row in (PLAIN, RESIDUAL)]
    titles = [f"{row}, E = {experts}" for experts, row in places]
    figure, axes = frames(titles, "", "test accuracy", height=3.0, columns=2, ylim=(0, 1.04), sharey=True)
    for axis, (experts, row) in zip(axes, places, strict=True):
        for score, label, colour, marker in (KINDS[0], KINDS[2]):
            curve(axis, by_share(evidence, DEPTH, row, score, experts), colour, marker=marker, label=label)
        level(axis, accuracy(evidence, DEPTH, row, "none", experts, 1), label="no expert")
        share_axis(axis, 1 / experts)
    legend(figure, axes)
    return figure


def _variants(evidence: Evidence) -> Figure | None:
    names = {"soft_moe": "Soft MoE", "sparse_topk": "sparse top-k", "random_router": "random router"}
    numbers = sorted({e for row in names for e in evidence.experts(VARIANTS, "subset", row, least=8)})
    if not numbers:
        return None
    places = [(experts, row) for experts in numbers for row in names]
    figure, axes = frames(
        [f"{names[row]}, E = {experts}" for experts, row in places],
        "share of the experts, k/E",
        "test accuracy",
        height=2.6,
        columns=len(names),
        ylim=(0, 1.04),
        sharey=True,
        sharex=True,
    )
    for axis, (experts, row) in zip(axes, places, strict=True):
        for score, label, colour, marker in KINDS:
            points = {1 / s: accuracy(evidence, VARIANTS, row, score, experts, s) for s in SHARES}
            curve(axis, points, colour, marker=marker, label=label)
        level(axis, accuracy(evidence, VARIANTS, row, "all", experts, 1), color=INK, label="all experts")
        log2_ticks(axis, [1 / s for s in SHARES], [share_label(1 / s) for s in SHARES])
        axis.set_xlim(0.11, 0.57)
    legend(figure, axes)
    return figure


def _conditions(evidence: Evidence) -> Figure | None:
    conditions = [row for row in CONDITIONS if evidence.experts(PART, "subset", row)]
    experts = next((e for row in conditions for e in evidence.experts(PART, "subset", row)), 0)
    if not conditions:
        return None
    rows = [ROW, *conditions]
    x = f"test accuracy with k = E/4 of E = {experts}"
    figure, (axis,) = frames([""], x, height=0.45 * len(rows) + 1)
    for place, row in enumerate(rows):
        for score, label, colour, marker in KINDS:
            values = accuracy(evidence, PART, row, score, experts, 4)
            bar(axis, place, values, colour, across=True, marker=marker, markersize=5.5, label=label)
        if whole := mean(accuracy(evidence, PART, row, "all", experts, 1)):
            look: dict[str, Any] = {"linestyle": "none", "marker": "|", "markersize": 13, "color": INK}
            axis.plot(whole.value, place, label="all experts", **look)
    row_names(axis, ["as in the paper", *conditions])
    axis.set_xlim(0, 1.02)
    axis.grid(axis="y", color=LINE)
    legend(figure, [axis])
    return figure


def _depth_words(evidence: Evidence) -> str:
    parts = []
    for experts in evidence.experts(DEPTH, "subset", PLAIN):
        a, b = (mean(worth(evidence, row, experts)) for row in (PLAIN, RESIDUAL))
        if a and b:
            parts.append(f"at E = {experts} {a.value:.3f} without and {b.value:.3f} with it")
    return f"The experts add to the accuracy with none: {'; '.join(parts)}." if parts else ""


def _variants_words(evidence: Evidence) -> str:
    parts = []
    for row in ("soft_moe", *ROUTED):
        for experts in evidence.experts(VARIANTS, "subset", row)[-1:]:
            a, b = (mean(accuracy(evidence, VARIANTS, row, s, experts, 8)) for s in (PAPERS, "static"))
            if a and b:
                parts.append(f"{row} {a.value - b.value:+.3f}")
    return f"Selected less static at k = E/8 of the most experts: {', '.join(parts)}." if parts else ""


PLOTS = (
    Plot(
        name="conditions",
        part=PART,
        title="One change at a time",
        reading=f"Each model is trained anew at the same budget. {BARS}",
        draw=_conditions,
    ),
    Plot(
        name="variants",
        part=VARIANTS,
        title="The same question asked of other routed layers",
        reading=f"Same host, budget and training. {BANDS}",
        draw=_variants,
        seen=_variants_words,
    ),
    Plot(
        name="depth",
        part=DEPTH,
        title="Three layers, without and with a residual around them",
        reading=f"k = the same share in every layer; each layer selects on a stream already masked below. {BANDS}",
        draw=_depth,
        seen=_depth_words,
    ),
)
