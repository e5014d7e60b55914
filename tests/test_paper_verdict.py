"""From numbers to verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from moebench.studies.claim import FAILS, HOLDS, OPEN, Bound, Item, SeededEstimate, difference, every, less, mean, ratio


@pytest.mark.parametrize(
    ("side", "low", "high", "verdict"),
    [
        ("above", 0.1, 0.3, HOLDS),
        ("above", -0.3, -0.1, FAILS),
        ("above", -0.1, 0.1, OPEN),
        ("above", 0.0, 0.2, OPEN),
        ("below", 0.1, 0.3, FAILS),
        ("below", -0.3, -0.1, HOLDS),
        ("below", -0.1, 0.1, OPEN),
    ],
)
def test_the_whole_interval_must_lie_on_one_side(side, low, high, verdict):
    item = Bound(0, side).judge("x", SeededEstimate((low + high) / 2, low, high, seeds=5))
    assert item.verdict == verdict
    assert ("includes the bound 0" in item.reason) == (verdict == OPEN)


def test_the_bound_need_not_be_zero():
    estimate = SeededEstimate(0.5, 0.4, 0.6, seeds=5)
    assert [Bound(b).judge("x", estimate).verdict for b in (0.39, 0.5, 0.61)] == [HOLDS, OPEN, FAILS]


def test_two_seeds_settle_nothing_and_three_do():
    assert Bound(0).judge("x", SeededEstimate(1, 0.9, 1.1, seeds=2)).reason == "2 training seeds, and 3 are needed"
    assert Bound(0).judge("x", SeededEstimate(1, None, None, seeds=1)).reason == "1 training seed, and 3 are needed"
    assert Bound(0).judge("x", SeededEstimate(1, 0.9, 1.1, seeds=3)).verdict == HOLDS


def test_seeds_without_spread_are_no_certainty():
    assert Bound(0).judge("x", mean({0: 0.5, 1: 0.5, 2: 0.5})).verdict == OPEN
    assert "no spread" in Bound(0).judge("x", mean({0: 0.5, 1: 0.5, 2: 0.5})).reason


def item(what: str, verdict: str, margin: float) -> Item:
    return Item(what, SeededEstimate(margin, seeds=5), verdict, "why" if verdict == OPEN else "", margin)  # type: ignore[arg-type]


def test_the_weakest_decides():
    strong, weak = item("a", HOLDS, 0.5), item("b", HOLDS, 0.1)
    assert every([strong, weak], "").decides == weak
    finding = every([strong, item("c", OPEN, 0.7), weak], "")
    assert (finding.verdict, finding.reason) == (OPEN, "c: why")
    finding = every([strong, item("c", OPEN, -0.7), item("d", FAILS, -0.2), item("e", FAILS, -0.3)], "")
    assert (finding.verdict, finding.decides.what, len(finding.items)) == (FAILS, "e", 4)


def of(values, what="a", bound=0.0):
    """An interval over seeds, by mean and half width at 95 %."""
    middle, half = values
    return Bound(bound).judge(what, SeededEstimate(middle, middle - half, middle + half, seeds=5))


def test_several_intervals_of_a_claim_hold_together():
    # Two at 97.5 % each: t with 4 degrees of freedom is 3.495 instead of 2.776, so a half width of 1 becomes 1.259.
    alone, two = every([of((1.1, 1.0))]), every([of((1.1, 1.0)), of((9.0, 1.0), "b")])
    assert (alone.verdict, alone.items[0].estimate.level) == (HOLDS, 0.95)
    assert (two.verdict, two.decides.what) == (OPEN, "a")
    estimate = two.items[0].estimate
    assert estimate.level == pytest.approx(0.975)
    share = stats.t.ppf(0.9875, 4) / stats.t.ppf(0.975, 4)
    assert (estimate.low, estimate.high) == pytest.approx((1.1 - share, 1.1 + share))


def test_a_claim_fails_only_where_an_interval_does_among_all_of_them():
    assert every([of((-1.1, 1.0))]).verdict == FAILS
    assert every([of((-1.1, 1.0)), *(of((9.0, 1.0), str(n)) for n in range(3))]).verdict == OPEN
    assert every([of((-2.0, 1.0)), *(of((9.0, 1.0), str(n)) for n in range(3))]).verdict == FAILS


def test_what_is_to_run_counts_and_what_is_exact_does_not():
    sure = Bound(0).judge("sure", SeededEstimate(1, 1, 1, seeds=5))
    assert every([of((1.1, 1.0)), sure]).verdict == HOLDS
    assert every([of((1.1, 1.0)), Bound(0).judge("b", None)]).items[0].verdict == OPEN


def test_a_number_with_two_bounds_counts_once():
    both = [Bound(-1.5).judge("a", SeededEstimate(0, -1, 1, seeds=5)), Bound(1.5, "below").judge("a", None)]
    assert every(both).items[0].estimate.level == 0.95


def test_an_interval_over_rounds_is_widened_by_the_normal_distribution():
    found = SeededEstimate(2.0, 1.5, 3.0).among(4)
    share = stats.norm.ppf(1 - 0.025 / 4) / stats.norm.ppf(0.975)
    assert (found.low, found.high) == pytest.approx((2 - 0.5 * share, 2 + share))


def test_all_intervals_of_a_claim_cover_with_95_percent():
    # Four cases of five seeds: none is wrongly outside its bound on more than 5 % of simulated claims.
    rng = np.random.default_rng(0)
    wrong = 0
    for scores in rng.normal(size=(2_000, 4, 5)):
        items = [Bound(0).judge(str(n), mean(dict(enumerate(row)))) for n, row in enumerate(scores)]
        wrong += any(item.verdict != OPEN for item in every(items).items)
    assert 0.03 <= wrong / 2_000 <= 0.06


def test_what_has_not_run_is_open():
    assert every([], "no run of it is done").reason == "no run of it is done"
    finding = every([item("a", HOLDS, 0.5), Bound(0).judge("b", None)], "")
    assert (finding.verdict, finding.reason) == (OPEN, "b: it has not run")


def test_differences_are_paired_by_seed():
    a, b = {0: 1.0, 1: 2.0, 2: 3.0, 5: 9.0}, {0: 0.9, 1: 1.7, 2: 2.8, 4: 0.0}
    found = difference(a, b)
    assert found.seeds == 3
    assert found.value == pytest.approx(0.2)
    # sd 0.1 over three seeds: 4.303 x 0.1 / sqrt 3
    assert (found.low, found.high) == (pytest.approx(0.2 - 0.2484, abs=1e-4), pytest.approx(0.2 + 0.2484, abs=1e-4))
    assert difference({0: 1.0}, {1: 1.0}) is None
    assert mean({}) is None
    assert less(a, b) == {0: pytest.approx(0.1), 1: pytest.approx(0.3), 2: pytest.approx(0.2)}
    assert ratio({0: 1.0, 1: 2.0}, {0: 4.0, 1: 0.0}) == {0: 0.25}
