"""Accuracy against the share of the experts that act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.board.style import BLUE, GREY, INK, LINE, ORANGE, SOFT, log2_ticks, shades
from moebench.studies.claim import mean, ratio
from moebench.studies.evidence import Evidence, Series
from moebench.studies.plot import BANDS, BARS, DASHED, Plot, bar, curve, frames, legend, row_names, share_label
from moestudies.paper.claims.subsets import PAPERS, PART, ROW, accuracy, retained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def by_share(evidence: Evidence, part: str, row: str, score: str, experts: int) -> dict[float, Series]:
    """Share of the experts -> accuracy by seed, at every power of two that was measured, and with all of them."""
    ks = [k for k in range(1, experts) if k & (k - 1) == 0]
    found = {k / experts: evidence.values(part, "subset", row, f"{score} k={k}", experts=experts) for k in ks}
    return found | {1.0: evidence.values(part, "subset", row, "all", experts=experts)}


def share_axis(axis: Axes, smallest: float) -> None:
    """1/512 ... 1, at most six ticks."""
    powers = [2.0**-n for n in range(10) if 2.0**-n >= smallest]
    step = -(-len(powers) // 6)
    log2_ticks(axis, powers[::step], [share_label(share) for share in powers[::step]])
    axis.set_xlabel("share of the experts that act, k/E")


def _accuracy_by_share(evidence: Evidence) -> Figure | None:
    numbers = evidence.experts(PART, "subset", ROW)
    if not numbers:
        return None
    titles = ("test accuracy", "retained of the accuracy with all experts")
    figure, (left, right) = frames(titles, height=3.9, ylim=(0, 1.04))
    for experts, colour in zip(numbers, shades(len(numbers)), strict=True):
        whole = evidence.values(PART, "subset", ROW, "all", experts=experts)
        for score, style in ((PAPERS, "-"), ("random", (0, (2, 1.6)))):
            of = by_share(evidence, PART, ROW, score, experts)
            label = {"label": f"E = {experts}"} if score == PAPERS else {}
            width = 1.7 if score == PAPERS else 1.1
            curve(left, of, colour, linestyle=style, linewidth=width, **label)
            curve(right, {x: ratio(a, whole) for x, a in of.items()}, colour, linestyle=style, linewidth=width)
    right.axhline(0.99, color=SOFT, linewidth=0.9)
    right.annotate("99 %", (1, 0.99), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8, color=SOFT)
    for axis in (left, right):
        share_axis(axis, 1 / numbers[-1])
    from matplotlib.lines import Line2D

    kinds = [
        Line2D([], [], color=INK, linewidth=1.7),
        Line2D([], [], color=INK, linewidth=1.1, linestyle=(0, (2, 1.6))),
    ]
    lines, names = left.get_legend_handles_labels()
    handles = [*kinds, *lines[::-1]]
    figure.legend(handles=handles, labels=["selected", "random", *names[::-1]], loc="outside right center")
    return figure


SHARES = (8, 4, 2)
KINDS = ((PAPERS, "selected", BLUE, "o"), ("static", "static", ORANGE, "s"), ("random", "random", GREY, "^"))


def _accuracy_by_experts(evidence: Evidence) -> Figure | None:
    numbers = evidence.experts(PART, "subset", ROW, least=2)
    if not numbers:
        return None
    titles = [f"k = E/{share}" for share in SHARES]
    figure, axes = frames(titles, "experts E", "test accuracy", height=3.3, ylim=(0, 1.04), sharey=True)
    all_of = {float(e): evidence.values(PART, "subset", ROW, "all", experts=e) for e in numbers}
    for axis, share in zip(axes, SHARES, strict=True):
        curve(axis, all_of, INK, linewidth=1, linestyle=DASHED, label="all experts")
        for score, label, colour, marker in KINDS:
            at = {float(e): accuracy(evidence, PART, ROW, score, e, share) for e in numbers if e >= share}
            curve(axis, at, colour, marker=marker, label=label)
        step = -(-len(numbers) // 6)
        log2_ticks(axis, numbers[::step], [str(e) for e in numbers[::step]])
        axis.set_xlim(numbers[0] * 0.85, numbers[-1] * 1.18)
    legend(figure, axes)
    return figure


RIVALS = (
    ("combine_sum", "sum of combine (the paper's)"),
    ("combine_max", "largest combine"),
    ("combine_norm", "combine x output norm *"),
    ("dispatch", "largest dispatch"),
    ("static", "static: same for all inputs"),
    ("random", "random"),
    ("worst", "worst: least combine"),
    ("combine_sum renormalise", "the paper's, renormalised"),
)
SHOWN = (8, 16, 64, 128, 512)


def _rival_scores(evidence: Evidence) -> Figure | None:
    there = evidence.experts(PART, "subset", ROW, least=8)
    numbers = [e for e in SHOWN if e in there][:4] or there[:4]
    if not numbers:
        return None
    titles = [f"E = {experts}, k = {experts // 8}" for experts in numbers]
    figure, axes = frames(titles, "test accuracy", height=3.1, sharey=True, sharex=True)
    for axis, experts in zip(axes, numbers, strict=True):
        if whole := mean(evidence.values(PART, "subset", ROW, "all", experts=experts)):
            axis.axvline(whole.value, color=SOFT, linewidth=1, linestyle=DASHED)
        for place, (score, _) in enumerate(RIVALS):
            values = accuracy(evidence, PART, ROW, score, experts, 8)
            bar(axis, place, values, BLUE if place == 0 else INK, across=True, markersize=5.5 if place == 0 else 4.5)
        axis.set_xlim(0, 1)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "", "0.5", "", "1"])
        axis.grid(axis="y", color=LINE)
    row_names(axes[0], [label for _, label in RIVALS])
    return figure


def _retained_words(evidence: Evidence) -> str:
    numbers = evidence.experts(PART, "subset", ROW, least=8)
    found = [(e, mean(retained(evidence, e, 8))) for e in (numbers[:1] + numbers[1:][-1:])]
    parts = [f"{value.value:.1%} at E = {e}" for e, value in found if value]
    return f"With 1/8 of the experts {' and '.join(parts)} of the accuracy is retained." if parts else ""


PLOTS = (
    Plot(
        name="accuracy-by-share",
        part=PART,
        title="Accuracy with a share of the experts",
        reading=f"One line for each E at equal parameters; nothing is retrained. {BANDS}",
        draw=_accuracy_by_share,
        seen=_retained_words,
    ),
    Plot(
        name="accuracy-by-experts",
        part=PART,
        title="Accuracy against the number of experts, at a fixed share",
        reading=f"Static: the experts of largest mean mass on validation data, the same for every input. {BANDS}",
        draw=_accuracy_by_experts,
    ),
    Plot(
        name="rival-scores",
        part=PART,
        title="Rival ways to select and use k = E/8",
        reading="The dashed line is the accuracy with all experts. * computes every expert to choose among them, so it "
        f"saves nothing. {BARS}",
        draw=_rival_scores,
    ),
)
