"""From numbers to verdicts."""

from __future__ import annotations

import pytest

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
