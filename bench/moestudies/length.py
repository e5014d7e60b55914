"""Training length: from how many steps on is the order of layers that of long training?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING

from moebench.board.style import BLUE, GREEN, GREY, ORANGE, PURPLE, log2_ticks
from moebench.studies.claim import Bound, Claim, Finding, Item, SeededEstimate, difference, every, less, means
from moebench.studies.evidence import Evidence, Series
from moebench.studies.plot import BANDS, Plot, curve, frames, legend
from moebench.studies.study import Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("length-x1", "length-x4", "length-x16")
LONGEST = PARTS[-1]
ROWS = {
    "dense": GREY,
    "dense_active": PURPLE,
    "sparse_topk": BLUE,
    "random_router": ORANGE,
    "random_detached": GREEN,
}
PAIRS = tuple(combinations(ROWS, 2))

Pair = tuple[str, str]


def accuracy(evidence: Evidence, part: str, row: str) -> Series:
    """Test accuracy by training seed."""
    return evidence.values(part, "final", row, "test_accuracy")


def differences(evidence: Evidence, part: str, pair: Pair) -> SeededEstimate | None:
    """The first row less the second, paired by seed."""
    one, other = (accuracy(evidence, part, row) for row in pair)
    return difference(one, other)


def ordered(estimate: SeededEstimate | None) -> int:
    """1 or -1 where the interval lies above or below 0; 0 where it includes 0 or there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return 0
    return (estimate.low > 0) - (estimate.high < 0)


def settled_from(evidence: Evidence, pair: Pair) -> str:
    """The shortest length from which on the pair is ordered as after the longest; empty where one has not run."""
    found = [differences(evidence, part, pair) for part in PARTS]
    if None in found:
        return ""
    signs = [ordered(each) for each in found]
    first = next(place for place in range(len(PARTS)) if all(sign == signs[-1] for sign in signs[place:]))
    return steps_of(evidence, PARTS[first])


def steps_of(evidence: Evidence, part: str) -> str:
    """How long a part trains, in words."""
    known = next((each.suite.training.steps for each in evidence.parts if each.name == part), None)
    return f"{known:,} steps" if known else part


def _as_at_the_end(part: str) -> Callable[[Evidence], Finding]:
    """Whether the pairs that are ordered after this length or the longest are ordered the same way after the other."""

    def judge(evidence: Evidence) -> Finding:
        items: list[Item] = []
        for pair in PAIRS:
            for known, asked in ((LONGEST, part), (part, LONGEST)):
                sign = ordered(differences(evidence, known, pair))
                if sign:
                    better, worse = pair if sign > 0 else pair[::-1]
                    a, b = (accuracy(evidence, asked, row) for row in (better, worse))
                    what = f"{better} less {worse} after {steps_of(evidence, asked)}"
                    items.append(Bound(0.0).judge(what, difference(a, b), means(a, b)))
        ran = all(accuracy(evidence, each, row) for each in (part, LONGEST) for row in ROWS)
        return every(items, "no pair differs significantly after either length" if ran else "not all of it has run")

    return judge


def _lead_shrinks(evidence: Evidence) -> Finding:
    """Whether top-k's lead over dense is larger after the shortest length than after the longest."""
    short, long = (
        less(*(accuracy(evidence, part, row) for row in ("sparse_topk", "dense"))) for part in (PARTS[0], LONGEST)
    )
    if not short or not long:
        return every([])
    what = f"lead after {steps_of(evidence, PARTS[0])} less lead after {steps_of(evidence, LONGEST)}"
    return every([Bound(0.0).judge(what, difference(short, long), means(short, long))])


def _table(evidence: Evidence) -> Table | None:
    """A line for each pair."""
    found = {pair: [differences(evidence, part, pair) for part in PARTS] for pair in PAIRS}
    if not any(map(any, found.values())):
        return None
    lines = (
        (f"{one} less {other}", *map(_shown, found[one, other]), settled_from(evidence, (one, other)) or "not known")
        for one, other in PAIRS
    )
    return Table(
        name="pairs",
        title="Differences by training length",
        caption="Test accuracy of the first row less that of the second, paired by seed, with 95 % intervals, which "
        "are not adjusted for the number of pairs. A pair is settled from the shortest length from which on its "
        "interval lies as after the longest: above 0, below 0, or around it.",
        head=("pair", *(steps_of(evidence, part) for part in PARTS), "settled from"),
        rows=tuple(lines),
    )


def _shown(estimate: SeededEstimate | None) -> str:
    if estimate is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}, no interval"
    return f"{estimate.value:+.3f} ({estimate.low:+.3f} to {estimate.high:+.3f})"


def _by_steps(evidence: Evidence) -> Figure | None:
    steps = {each.name: each.suite.training.steps for each in evidence.parts}
    if not any(accuracy(evidence, part, row) for part in steps for row in ROWS):
        return None
    figure, (axis,) = frames(["test accuracy"], "training steps", height=3.8)
    for row, colour in ROWS.items():
        points = {float(steps[part]): found for part in steps if (found := accuracy(evidence, part, row))}
        curve(axis, points, colour, marker="o", label=row)
    log2_ticks(axis, [float(each) for each in steps.values()], [f"{each:,}" for each in steps.values()])
    legend(figure, [axis])
    return figure


def _seen(evidence: Evidence) -> str:
    last = [settled_from(evidence, pair) for pair in PAIRS]
    if not all(last):
        return ""
    late = [part for part in PARTS if steps_of(evidence, part) in last][-1]
    return f"All {len(PAIRS)} pairs are ordered as after the longest training from {steps_of(evidence, late)} on."


def _order_claim(key: str, part: str, times: str) -> Claim:
    return Claim(
        key=key,
        source="extension",
        part=part,
        statement=f"The order after {times} of standard is that after 16 times as many.",
        paper="-",
        here="Test accuracy of five rows, pair by pair.",
        rule="Holds when each pair whose interval excludes 0 after one of the two lengths lies on the same side of 0 "
        "after the other.",
        judge=_as_at_the_end(part),
    )


REPORT = Study(
    name="length",
    source="a control of this harness",
    question="A board compares layers after a fixed number of steps. Would longer training have ordered them "
    "otherwise? Five rows are tuned and trained on CIFAR-10 for as long as in the suite standard, for 4 times and for "
    "16 times as long.",
    claims=(
        _order_claim("order-after-x1", PARTS[0], "the steps"),
        _order_claim("order-after-x4", PARTS[1], "4 times the steps"),
        Claim(
            key="lead-shrinks",
            source="extension",
            part=LONGEST,
            statement="The lead of sparse_topk over dense is one of short training: it shrinks.",
            paper="-",
            here="Test accuracy of sparse_topk less that of dense, after the shortest less after the longest training.",
            rule="Holds when the interval over seeds lies above 0.",
            judge=_lead_shrinks,
        ),
    ),
    plots=(
        Plot(
            name="accuracy-by-steps",
            part=LONGEST,
            title="Accuracy by training length",
            reading=f"Each point is tuned on its own. {BANDS}",
            draw=_by_steps,
            seen=_seen,
        ),
    ),
    tables=(_table,),
)
