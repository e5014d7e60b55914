"""The figures: which classes go to which expert, one fixed expert, shares of use, accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebench.board.style import BLUE, GREEN, GREY, INK, LINE, ORANGE, PURPLE, SOFT, panels
from moebench.studies.claim import mean
from moebench.studies.evidence import Array, Evidence, Series
from moebench.studies.plot import BANDS, BARS, Plot, bar, curve
from moestudies.cnn.arms import (
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
    arm,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"none": GREY, "importance": BLUE, "kl": GREEN, HARD: ORANGE, PLAIN: INK, PLAIN_ACTIVE: PURPLE}
BRIEF = {"none": "no constraint", "importance": "soft, CV²", "kl": "soft, KL", HARD: "hard"}
MARKS = {"none": "o", "importance": "s", "kl": "D", HARD: "^"}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def heat_maps(evidence: Evidence) -> Figure | None:
    """For each family and constraint the share of a class's images that each expert has, of the first seed."""
    found = {(f, what): _use(evidence, arm(f, what)) for f in FAMILIES for what in CONSTRAINTS}
    if all(use_CE is None for use_CE in found.values()):
        return None
    figure, axes = panels(len(found), height=2.7, columns=len(CONSTRAINTS), sharey=True)
    # An image chooses several experts, so that none of them has all choices of a class.
    most = max(use_CE.max() for use_CE in found.values() if use_CE is not None)
    mesh = None
    for axis, ((family, what), use_CE) in zip(axes, found.items(), strict=True):
        axis.set_title(f"{family.name}: {BRIEF[what]}")
        axis.grid(visible=False)
        if use_CE is None:
            continue
        mesh = axis.pcolormesh(use_CE, cmap="cividis", vmin=0, vmax=most, edgecolors="face", linewidth=0.3)
        classes, experts = use_CE.shape
        names = CLASSES if classes == len(CLASSES) else [str(c) for c in range(classes)]
        axis.set_yticks(np.arange(classes) + 0.5, labels=names)
        axis.set_xticks([0.5, experts - 0.5], labels=["1", str(experts)])
        axis.set_ylim(classes, 0)
    figure.supxlabel("experts, in the order of the class that each serves most", fontsize="medium")
    assert mesh is not None
    colours = figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.01)
    colours.set_label("share of the class's choices")
    assert colours.solids is not None
    colours.solids.set(rasterized=False, edgecolor="face", linewidth=0.3)  # a page shows no image from within
    colours.outline.set_edgecolor(SOFT)
    return figure


def _use(evidence: Evidence, name: str) -> Array | None:
    """use_CE of the first seed, experts sorted by the class of their largest share."""
    for run in evidence.find(PART, "fixed", name):
        use_CE = run.arrays.get("use_CE_0")
        if use_CE is not None and use_CE.ndim == 2:
            order = np.lexsort((-use_CE.max(axis=0), use_CE.argmax(axis=0)))
            ordered: Array = use_CE[:, order]
            return ordered
    return None


def fixed_accuracy(evidence: Evidence) -> Figure | None:
    """Accuracy with one fixed expert for every image, from the best expert to the worst; dashed: all experts."""
    return _by_rank(evidence, "fixed", "one fixed expert, from the best to the worst", "test accuracy", whole=True)


def use_shares(evidence: Evidence) -> Figure | None:
    """Share of all choices, from the most used expert to the least; the line of even shares beside it."""
    return _by_rank(evidence, "use", "experts, from the most used to the least", "share of all choices", whole=False)


def _by_rank(evidence: Evidence, score: str, across: str, up: str, *, whole: bool) -> Figure | None:
    if not any(_ranks(evidence, family, what, score) for family in FAMILIES for what in CONSTRAINTS):
        return None
    figure, axes = panels(len(FAMILIES), height=3.4, sharey=True)
    for axis, family in zip(axes, FAMILIES, strict=True):
        experts = 0
        for what in CONSTRAINTS:
            points = _ranks(evidence, family, what, score)
            curve(axis, points, COLOURS[what], marker=MARKS[what], label=NAMES[what])
            experts = max(experts, len(points))
            if whole:
                _line(axis, evidence.values(PART, "fixed", arm(family, what), "all"), COLOURS[what])
        if not whole and experts:
            axis.axhline(1 / experts, color=SOFT, linewidth=0.9, linestyle=(0, (5, 2)))
        axis.set_title(family.experts)
        axis.set_xlabel(across)
        axis.set_xticks(range(1, experts + 1))
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel(up)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _line(axis: Axes, values: Series, colour: str) -> None:
    found = mean(values)
    if found:
        axis.axhline(found.value, color=colour, linewidth=1, linestyle=(0, (5, 2)))


def _ranks(evidence: Evidence, family: Family, what: str, score: str) -> dict[float, Series]:
    """Rank -> value by seed."""
    found: dict[float, Series] = {}
    rank = 1
    while values := evidence.values(PART, "fixed", arm(family, what), f"{score} {rank}"):
        found[float(rank)] = values
        rank += 1
    return found


def accuracies(evidence: Evidence) -> Figure | None:
    """Test accuracy under every constraint, and of the plain networks."""
    rows = (*CONSTRAINTS, PLAIN, PLAIN_ACTIVE)
    if not any(ACCURACY.of(evidence, arm(family, what)) for family in FAMILIES for what in rows):
        return None
    figure, axes = panels(len(FAMILIES), height=0.36 * len(rows) + 1, sharex=True, sharey=True)
    for axis, family in zip(axes, FAMILIES, strict=True):
        for place, what in enumerate(rows):
            values = ACCURACY.of(evidence, arm(family, what))
            bar(axis, place, values, COLOURS[what], across=True, markersize=5.5)
        axis.set_title(family.experts)
        axis.set_xlabel("test accuracy")
        axis.grid(axis="y", color=LINE)
    axes[0].set_yticks(range(len(rows)), labels=[NAMES[what] for what in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def accuracy_words(evidence: Evidence) -> str:
    """The accuracies of soft, hard, none and plain."""
    said = []
    for family in FAMILIES:
        found = {what: mean(ACCURACY.of(evidence, arm(family, what))) for what in (*CONSTRAINTS, PLAIN, PLAIN_ACTIVE)}
        known = [f"{what} {each.value:.3f}" for what, each in found.items() if each]
        said += [f"{family.name}: {', '.join(known)}"] if known else []
    return f"{'; '.join(said)}." if said else ""


def fixed_words(evidence: Evidence) -> str:
    """The mean over the experts, by constraint."""
    said = []
    for family in FAMILIES:
        found = {what: mean(FIXED.of(evidence, arm(family, what))) for what in CONSTRAINTS}
        known = [f"{what} {each.value:.3f}" for what, each in found.items() if each]
        said += [f"{family.name}: {', '.join(known)}"] if known else []
    return f"Means over the experts: {'; '.join(said)}." if said else ""


PLOTS = (
    Plot(
        name="cnn-accuracy",
        part=PART,
        title="Accuracy under each constraint, and of plain networks",
        reading="Plain, same parameters: one block with as many as all experts together; same work: one that does as "
        f"many FLOPs for an image as the experts that are chosen. {BARS}",
        draw=accuracies,
        seen=accuracy_words,
    ),
    Plot(
        name="cnn-class-by-expert",
        part=PART,
        title="Which class goes to which expert",
        reading="Of the test images of a class, the share that chose each expert; first seed.",
        draw=heat_maps,
    ),
    Plot(
        name="cnn-fixed-expert",
        part=PART,
        title="One fixed expert for every image",
        reading="The expert has the weight 1, whatever the router says; experts are ranked in each seed. Dashed: the "
        f"whole model. {BANDS}",
        draw=fixed_accuracy,
        seen=fixed_words,
    ),
    Plot(
        name="cnn-use",
        part=PART,
        title="Share of use",
        reading=f"Experts are ranked in each seed; dashed: even shares. Test images. {BANDS}",
        draw=use_shares,
    ),
)
