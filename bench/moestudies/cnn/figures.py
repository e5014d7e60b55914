"""The figures: which classes go to which expert, one fixed expert, shares of use, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moebench.board.style import BLUE, GREEN, GREY, INK, LINE, ORANGE, PURPLE, SOFT
from moebench.studies.claim import mean
from moebench.studies.evidence import Evidence, Series
from moebench.studies.plot import (
    BANDS,
    BARS,
    DASHED,
    Plot,
    bar,
    by_class,
    colour_bar,
    curve,
    frames,
    heat_map,
    legend,
    level,
    row_names,
)
from moestudies.cnn.rows import (
    ACCURACY,
    CONSTRAINTS,
    FAMILIES,
    FIXED,
    HARD,
    NAMES,
    PART,
    PLAIN,
    PLAIN_ACTIVE,
    Family,
    RowScore,
    row_name,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"none": GREY, "importance": BLUE, "kl": GREEN, HARD: ORANGE, PLAIN: INK, PLAIN_ACTIVE: PURPLE}
BRIEF = {"none": "no constraint", "importance": "soft, CV²", "kl": "soft, KL", HARD: "hard"}
MARKS = {"none": "o", "importance": "s", "kl": "D", HARD: "^"}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _heat_maps(evidence: Evidence) -> Figure | None:
    found = {
        (family, what): by_class(evidence.find(PART, "fixed", row_name(family, what)), "use_CE_0")
        for family in FAMILIES
        for what in CONSTRAINTS
    }
    if all(use_CE is None for use_CE in found.values()):
        return None
    titles = [f"{family.name}: {BRIEF[what]}" for family, what in found]
    figure, axes = frames(titles, height=2.7, columns=len(CONSTRAINTS), sharey=True)
    # An image chooses several experts, so that none of them has all choices of a class.
    most = max(use_CE.max() for use_CE in found.values() if use_CE is not None)
    mesh = None
    for axis, use_CE in zip(axes, found.values(), strict=True):
        axis.grid(visible=False)
        if use_CE is not None:
            classes, experts = use_CE.shape
            mesh = heat_map(
                axis, use_CE, most, CLASSES if classes == len(CLASSES) else [str(c) for c in range(classes)]
            )
            axis.set_xticks([0.5, experts - 0.5], labels=["1", str(experts)])
    colour_bar(figure, mesh, axes, "share of the class's choices")
    return figure


def _fixed_accuracy(evidence: Evidence) -> Figure | None:
    return _by_rank(evidence, "fixed", "one fixed expert, from the best to the worst", "test accuracy", whole=True)


def _use_shares(evidence: Evidence) -> Figure | None:
    return _by_rank(evidence, "use", "experts, from the most used to the least", "share of all choices", whole=False)


def _by_rank(evidence: Evidence, score: str, across: str, up: str, *, whole: bool) -> Figure | None:
    if not any(_ranks(evidence, family, what, score) for family in FAMILIES for what in CONSTRAINTS):
        return None
    figure, axes = frames([family.experts for family in FAMILIES], across, up, height=3.4, sharey=True)
    for axis, family in zip(axes, FAMILIES, strict=True):
        experts = 0
        for what in CONSTRAINTS:
            points = _ranks(evidence, family, what, score)
            curve(axis, points, COLOURS[what], marker=MARKS[what], label=NAMES[what])
            experts = max(experts, len(points))
            if whole:
                level(axis, evidence.values(PART, "fixed", row_name(family, what), "all"), color=COLOURS[what])
        if not whole and experts:
            axis.axhline(1 / experts, color=SOFT, linewidth=0.9, linestyle=DASHED)
        axis.set_xticks(range(1, experts + 1))
        axis.set_ylim(bottom=0)
    legend(figure, axes)
    return figure


def _ranks(evidence: Evidence, family: Family, what: str, score: str) -> dict[float, Series]:
    """Rank -> value by seed."""
    found: dict[float, Series] = {}
    rank = 1
    while values := evidence.values(PART, "fixed", row_name(family, what), f"{score} {rank}"):
        found[float(rank)] = values
        rank += 1
    return found


def _accuracies(evidence: Evidence) -> Figure | None:
    rows = (*CONSTRAINTS, PLAIN, PLAIN_ACTIVE)
    if not any(ACCURACY.of(evidence, row_name(family, what)) for family in FAMILIES for what in rows):
        return None
    titles, height = [family.experts for family in FAMILIES], 0.36 * len(rows) + 1
    figure, axes = frames(titles, "test accuracy", height=height, sharex=True, sharey=True)
    for axis, family in zip(axes, FAMILIES, strict=True):
        for place, what in enumerate(rows):
            values = ACCURACY.of(evidence, row_name(family, what))
            bar(axis, place, values, COLOURS[what], across=True, markersize=5.5)
        axis.grid(axis="y", color=LINE)
    row_names(axes[0], [NAMES[what] for what in rows])
    return figure


def _accuracy_words(evidence: Evidence) -> str:
    return _means(evidence, ACCURACY, (*CONSTRAINTS, PLAIN, PLAIN_ACTIVE))


def _fixed_words(evidence: Evidence) -> str:
    means = _means(evidence, FIXED, CONSTRAINTS)
    return f"Means over the experts: {means}" if means else ""


def _means(evidence: Evidence, score: RowScore, rows: Sequence[str]) -> str:
    parts = []
    for family in FAMILIES:
        found = {what: mean(score.of(evidence, row_name(family, what))) for what in rows}
        known = [f"{what} {each.value:.3f}" for what, each in found.items() if each]
        parts += [f"{family.name}: {', '.join(known)}"] if known else []
    return f"{'; '.join(parts)}." if parts else ""


PLOTS = (
    Plot(
        name="cnn-accuracy",
        part=PART,
        title="Accuracy under each constraint, and of plain networks",
        reading="Plain, same parameters: one block with as many as all experts together; same work: one that does as "
        f"many FLOPs for an image as the experts that are chosen. {BARS}",
        draw=_accuracies,
        seen=_accuracy_words,
    ),
    Plot(
        name="cnn-class-by-expert",
        part=PART,
        title="Which class goes to which expert",
        reading="Of the test images of a class, the share that chose each expert; first seed.",
        draw=_heat_maps,
    ),
    Plot(
        name="cnn-fixed-expert",
        part=PART,
        title="One fixed expert for every image",
        reading="The expert has the weight 1, whatever the router gives; experts are ranked in each seed. Dashed: the "
        f"whole model. {BANDS}",
        draw=_fixed_accuracy,
        seen=_fixed_words,
    ),
    Plot(
        name="cnn-use",
        part=PART,
        title="Share of use",
        reading=f"Experts are ranked in each seed; dashed: even shares. Test images. {BANDS}",
        draw=_use_shares,
    ),
)
