"""Several targets at once: what HoME (arXiv 2408.05430) claims, and the curves of MMoE (Ma et al., KDD 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from moebench.board.style import BLUE, GREEN, GREY, ORANGE
from moebench.studies.claim import ELSEWHERE, Bound, Claim, Finding, Item, difference, every, less, mean, means
from moebench.studies.evidence import Evidence, Run, Series
from moebench.studies.plot import BANDS, Plot, curve, frames, legend
from moebench.studies.study import Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUITE = "multitask"
SCORE = "test_mean_score"
ORDER = ("home", "ple", "mmoe", "dense")
"""From the one that the paper has as the best; dense stands for the shared bottom."""

PARTS = {"home_one_level": "hierarchy", "home_no_features": "feature gates", "home_no_self": "self gates"}
"""A row without a part -> the part."""

OF_TARGETS = {"departure": "auc", "arrival": "auc", "cancelled": "auc", "air_time": "r2"}
CORRELATIONS = (100, 60, 20)
COLOURS = {"dense": GREY, "mmoe": BLUE, "ple": GREEN, "home": ORANGE}
ANOMALIES = ("collapsed", "degradation", "underfitting")


def tuned(evidence: Evidence, row: str, score: str = SCORE) -> Series:
    """A score of a row of the board, by seed."""
    return evidence.values(SUITE, "final", row, score)


def fixed(evidence: Evidence, row: str, score: str = SCORE) -> Series:
    """A score of a row of fixed settings, by seed."""
    return evidence.values(SUITE, "final", row, score)


def anomaly(evidence: Evidence, row: str, score: str) -> Series:
    """An anomaly of a row of the board, by seed."""
    return evidence.values(SUITE, "views", row, score)


def gain(evidence: Evidence, row: str) -> Series:
    """The mean over targets of what one model for all scores less what a model for that target alone scores."""
    found: Series = {}
    alone = {t: fixed(evidence, f"only {t}", f"test_{kind}_{t}") for t, kind in OF_TARGETS.items()}
    whole = {t: fixed(evidence, f"all {row}", f"test_{kind}_{t}") for t, kind in OF_TARGETS.items()}
    seeds = set.intersection(*(set(series) for series in (*alone.values(), *whole.values())))
    for seed in sorted(seeds):
        found[seed] = sum(whole[t][seed] - alone[t][seed] for t in OF_TARGETS) / len(OF_TARGETS)
    return found


def at(evidence: Evidence, row: str, correlation: int) -> Series:
    """Mean R^2 of a row on the generator."""
    return fixed(evidence, f"{row} {correlation}")


def _above(pairs: Sequence[tuple[str, str]]) -> Callable[[Evidence], Finding]:
    """Whether each first row of the board is above the second."""

    def judge(evidence: Evidence) -> Finding:
        items = []
        for better, worse in pairs:
            a, b = tuned(evidence, better), tuned(evidence, worse)
            if a or b:
                items.append(Bound(0.0).judge(f"{better} less {worse}", difference(a, b), means(a, b)))
        return every(items)

    return judge


def _shrinks(score: str, rows: Sequence[str]) -> Callable[[Evidence], Finding]:
    """Whether HoME has less of an anomaly than each of these rows."""

    def judge(evidence: Evidence) -> Finding:
        items = []
        for row in rows:
            a, b = anomaly(evidence, row, score), anomaly(evidence, "home", score)
            if a or b:
                items.append(Bound(0.0).judge(f"{row} less home", difference(a, b), means(a, b)))
        return every(items)

    return judge


def _collapses_less(evidence: Evidence) -> Finding:
    """As :func:`_shrinks`; not testable where there is nothing to cure, because no expert of any row collapses."""
    rows = ("mmoe", "ple")
    seen = [anomaly(evidence, row, "collapsed") for row in (*rows, "home")]
    found = _shrinks("collapsed", rows)(evidence)
    if all(seen) and not any(any(series.values()) for series in seen):
        return replace(found, verdict=ELSEWHERE, reason="no expert of any of these rows collapses")
    return found


def _falls(evidence: Evidence) -> Finding:
    """Whether the shared bottom loses between the closest and the loosest relation."""
    close, loose = (at(evidence, "dense", CORRELATIONS[place]) for place in (0, -1))
    if not close and not loose:
        return every([])
    return every([Bound(0.0).judge("dense at 1 less at 0.2", difference(close, loose), means(close, loose))])


def _separated(evidence: Evidence) -> Finding:
    """Whether the lead of layers with separated experts over the shared bottom is larger at 0.2 than at 1."""
    items = list[Item]()
    for row in ORDER[:-1]:
        loose, close = (
            less(at(evidence, row, c), at(evidence, "dense", c)) for c in (CORRELATIONS[-1], CORRELATIONS[0])
        )
        if loose or close:
            items.append(
                Bound(0.0).judge(f"lead of {row} at 0.2 less at 1", difference(loose, close), means(loose, close))
            )
    return every(items)


def _gains(evidence: Evidence) -> Finding:
    """Whether one HoME for all targets beats a model for each."""
    found = gain(evidence, "home")
    return every([Bound(0.0).judge("gain of home", mean(found))] if found else [])


def _claim(key: str, statement: str, here: str, rule: str, judge: Callable[[Evidence], Finding]) -> Claim:
    return Claim(key=key, part=SUITE, statement=statement, paper="-", here=here, rule=rule, judge=judge)


ABOVE = "Holds when the interval over seeds lies above 0, for all of them together with 95 %."
ON_BOARD = "Mean over the four targets of flights of AUC and R^2 on the test part, rows tuned alike at equal parameters"

CLAIMS = (
    _claim(
        "order",
        "HoME is better than PLE, PLE than MMoE, and MMoE than a shared bottom.",
        f"{ON_BOARD}: each less the next; the shared bottom is dense.",
        ABOVE,
        _above(list(pairwise(ORDER))),
    ),
    *(
        _claim(
            f"part-{row.removeprefix('home_')}",
            f"HoME is better with its {part}.",
            f"{ON_BOARD}: home less home without {part}.",
            ABOVE,
            _above([("home", row)]),
        )
        for row, part in PARTS.items()
    ),
    _claim(
        "collapse",
        "Normalised experts do not collapse.",
        "Share of experts with at least 90 % zero hidden units: MMoE's and PLE's less HoME's. The units stand before "
        "the norm of an expert's output, so that the norm can lower the share by training alone.",
        f"{ABOVE} Not testable where no expert of these rows collapses.",
        _collapses_less,
    ),
    _claim(
        "degradation",
        "Under a hierarchy shared experts are not occupied by one target.",
        "Degradation, from 0 (used alike) to 1 (by one target alone): MMoE's and PLE's less HoME's.",
        ABOVE,
        _shrinks("degradation", ("mmoe", "ple")),
    ),
    _claim(
        "underfitting",
        "With feature and self gates targets do not ignore their own experts.",
        "Underfitting, from 0 (an even share) to 1 (ignored): PLE's, and HoME's without each gate, less HoME's.",
        ABOVE,
        _shrinks("underfitting", ("ple", "home_no_features", "home_no_self")),
    ),
    _claim(
        "gain",
        "One model for all targets is better than one for each.",
        "Mean over targets of HoME's score less that of a dense model of the same parameters for that target alone, at "
        "one learning rate.",
        ABOVE,
        _gains,
    ),
    _claim(
        "shared-bottom-falls",
        "A shared bottom loses as the targets' relation loosens (Ma et al. 2018, figure 2).",
        "Mean R^2 of dense on the generator at correlation 1 less that at 0.2, at equal parameters.",
        ABOVE,
        _falls,
    ),
    _claim(
        "separation-gains",
        "The looser the relation, the more separated experts are ahead of a shared bottom.",
        "Lead in mean R^2 over dense at correlation 0.2 less that at 1: home, ple and mmoe.",
        ABOVE,
        _separated,
    ),
)


def _by_correlation(evidence: Evidence) -> Figure | None:
    points = {row: {c / 100: at(evidence, row, c) for c in CORRELATIONS if at(evidence, row, c)} for row in COLOURS}
    if not any(points.values()):
        return None
    figure, (axis,) = frames(["mean R^2 of two targets"], "correlation of their weights", height=3.4)
    for row, colour in COLOURS.items():
        curve(axis, points[row], colour, marker="o", label=row)
    axis.set_xticks([c / 100 for c in CORRELATIONS])
    legend(figure, [axis])
    return figure


def _gates(evidence: Evidence) -> Figure | None:
    rows = [(row, run) for row in ORDER[:-1] if (run := _with_gates(evidence, row)) is not None]
    if not rows:
        return None
    figure, axes = frames([row for row, _ in rows], "experts", height=2.6)
    for axis, (_, run) in zip(axes, rows, strict=True):
        weight_VE = run.arrays["gate_VE_0"]
        axis.pcolormesh(weight_VE, cmap="cividis", vmin=0, edgecolors="face", linewidth=0.3)
        axis.set_yticks([place + 0.5 for place in range(len(weight_VE))], labels=list(OF_TARGETS)[: len(weight_VE)])
        axis.set_ylim(len(weight_VE), 0)
        axis.grid(visible=False)
    return figure


def _with_gates(evidence: Evidence, row: str) -> Run | None:
    return next((run for run in evidence.find(SUITE, "views", row) if "gate_VE_0" in run.arrays), None)


def _targets(evidence: Evidence) -> Table | None:
    """A line for each row of the board: every target."""
    rows = [row for row in (*ORDER, "sparse_topk", *PARTS) if tuned(evidence, row)]
    if not rows:
        return None
    scores = [SCORE, *(f"test_{kind}_{target}" for target, kind in OF_TARGETS.items())]
    lines = [(row, *(_shown(tuned(evidence, row, score)) for score in scores)) for row in rows]
    return Table(
        name="targets",
        title="Every target",
        caption="Means over seeds on the test part, with half the width of a 95 % interval: AUC of what is yes or no, "
        "R^2 of the time in the air.",
        head=("row", "mean", *OF_TARGETS),
        rows=tuple(lines),
    )


def _anomalies(evidence: Evidence) -> Table | None:
    rows = [row for row in (*ORDER[:-1], *PARTS) if anomaly(evidence, row, "degradation")]
    if not rows:
        return None
    scores = ("zero_activations", *ANOMALIES)
    return Table(
        name="anomalies",
        title="Collapse, degradation and underfitting",
        caption="Of the tuned models: share of zero hidden units, before the norm that HoME's experts end with; share "
        "of experts with at least 90 % of them; how far shared experts are used by one target (0 to 1); how far "
        "targets ignore their own experts (0 to 1).",
        head=("row", *scores),
        rows=tuple((row, *(_shown(anomaly(evidence, row, score)) for score in scores)) for row in rows),
    )


def _gained(evidence: Evidence) -> Table | None:
    found = {row: gain(evidence, row) for row in ORDER}
    if not any(found.values()):
        return None
    return Table(
        name="gain",
        title="Multi-task gain",
        caption="Mean over targets of the score of one model for all less that of a dense model of the same parameters "
        "for the target alone; every model at one learning rate, none tuned.",
        head=("row", "gain"),
        rows=tuple((row, _shown(series, sign=True)) for row, series in found.items()),
    )


def _shown(values: Series, *, sign: bool = False) -> str:
    found = mean(values)
    if found is None:
        return "-"
    text = f"{found.value:+.4f}" if sign else f"{found.value:.4f}"
    return text if found.low is None else f"{text} ± {found.value - found.low:.4f}"


REPORT = Study(
    name="home",
    source="arXiv 2408.05430 (Wang et al., HoME: Hierarchy of Multi-Gate Experts), and Ma et al., KDD 2018 (MMoE)",
    question="One model has to answer several questions about each input. Is it worth giving targets experts of their "
    "own, in a hierarchy, with gates for features and a residual path? HoME was measured on a private service; here "
    "every row has the same parameters, and is tuned alike on public data.",
    claims=CLAIMS,
    plots=(
        Plot(
            name="by-correlation",
            part=SUITE,
            title="How related the targets are",
            reading=f"The generator of Ma et al.; 1 is the same weights for both targets. {BANDS}",
            draw=_by_correlation,
        ),
        Plot(
            name="gates",
            part=SUITE,
            title="Which experts each target uses",
            reading="Mean weight of each expert in each target's output, of the first seed; experts of the first level "
            "come first. Dark is 0.",
            draw=_gates,
        ),
    ),
    tables=(_targets, _anomalies, _gained),
    arrays=("gate_VE_0",),
)
