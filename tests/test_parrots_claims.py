"""The largest book that is known, and verdicts that flip when numbers flip."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

import papers
from moebench.studies.claim import FAILS, HOLDS, OPEN, Bound
from moebench.suites import load_experiment
from moestudies.parrots import SIZED, rows
from moestudies.parrots.claims import CLAIMS, LEAST_SEEDS, _ratio
from moestudies.parrots.rows import (
    KNOWN,
    PATHS,
    RECALL,
    SIZES,
    WIDTHS,
    Capacity,
    Model,
    book,
    by_experts,
    known,
    largest_known,
)

BY_KEY = {claim.key: claim for claim in CLAIMS}
KNOWS = {1: 560, 2: 600, 4: 790, 8: 1_120, 16: 1_580, 32: 2_230, 64: 3_150}
"""Pairs that a model knows, by its experts: of the narrow ones in the first place."""

FINDS = {"dense": 0.6, "top-2": 0.61, "width 24": 0.75, "width 32": 0.85}


def knowing_as_many(known, pairs):
    """Recall of a book by who recalls 0.9 of ``known`` pairs, on a straight line over the logarithm."""
    return KNOWN - 0.1 * math.log2(pairs / known)


def as_the_paper_has_it(part, kind, row, experts, index, scores):
    extra = papers.EXTRA[index] * (1 + experts / 50)  # no two models alike, so that differences have a spread
    if part == RECALL:
        kind_of_row, pairs = row.split(", ")
        pairs = int(pairs.removesuffix(" pairs"))
        knows = KNOWS[32] if kind_of_row.startswith("width") else KNOWS[experts]
        knows *= 1 + extra
        scores["test_accuracy"] = knowing_as_many(knows, pairs)
    else:
        scores["test_accuracy"] = FINDS[row] + extra


def evidence(change=as_the_paper_has_it, **how):
    return papers.evidence(**({"name": "parrots", "full": False, "seeds": 5, "change": change} | how))


def changed(**finds):
    """The evidence, with scores of rows of the second part replaced."""

    def change(part, kind, row, experts, index, scores):
        as_the_paper_has_it(part, kind, row, experts, index, scores)
        for name, value in finds.items():
            if part == PATHS and row == name.replace("_", " ").replace("top ", "top-"):
                scores["test_accuracy"] = value(index) if callable(value) else value + papers.EXTRA[index]

    return evidence(change)


@pytest.mark.parametrize(
    ("shares", "capacity"),
    [
        ([1.0, 1.0, 1.0, 0.9], (4096, 4096, math.inf)),
        ([0.89, 0.5, 0.2, 0.1], (512, 0, 512)),
        ([0.9, 0.9, 0.5, 0.1], (1024, 1024, 2048)),
        # Half of the way from 512 to 1,024 in the logarithm: their geometric mean.
        ([1.0, 0.8, 0.5, 0.1], (512 * math.sqrt(2), 512, 1024)),
        ([1.0, 1.0, 0.95, 0.75], (2048 * 2**0.25, 2048, 4096)),
        # The curve falls once; what comes after does not count.
        ([1.0, 0.8, 0.95, 0.1], (512 * math.sqrt(2), 512, 1024)),
    ],
)
def test_the_largest_known_book_is_read_off_the_curve(shares, capacity):
    assert dataclasses.astuple(largest_known((512, 1024, 2048, 4096), shares)) == pytest.approx(capacity)


def test_there_are_four_books_to_an_octave():
    assert [*SIZES] == [round(512 * 2 ** (step / 4)) for step in range(13)]


def of_books(low, high, seeds=5):
    """Capacities between two books, read off at a place that differs from seed to seed."""
    places = [low + (high - low) * (seed + 1) / (seeds + 1) for seed in range(seeds)]
    return {seed: Capacity(pairs, low, high) for seed, pairs in enumerate(places)}


def test_a_ratios_interval_reaches_to_the_books_between_which_it_lies():
    """1,000 to 2,000 over exactly 500: ratios 2 + 2 (s + 1) / 6, their mean 3, their ends 2 and 4."""
    found = _ratio(of_books(1_000, 2_000), {seed: Capacity(500, 500, 500) for seed in range(5)})
    half = stats.t.ppf(0.975, 4) * np.std([2 + (s + 1) / 3 for s in range(5)], ddof=1) / math.sqrt(5)
    assert (found.value, found.low, found.high) == pytest.approx((3, 2 - half, 4 + half))
    assert (found.below, found.above) == pytest.approx((1, 1))
    among = found.among(2)
    wider = half * stats.t.ppf(0.9875, 4) / stats.t.ppf(0.975, 4)
    assert (among.low, among.high) == pytest.approx((2 - wider, 4 + wider)), "the books are as far as they were"


def test_both_books_of_a_ratio_count():
    found = _ratio(of_books(1_000, 2_000), of_books(500, 1_000))
    values = [2.0] * 5  # they rise together
    assert found.value == pytest.approx(np.mean(values))
    assert found.low is None, "no spread over seeds, so no interval"
    other = _ratio(of_books(1_000, 2_000), dict(zip(range(5), reversed(of_books(500, 1_000).values()), strict=True)))
    assert other.value - other.below == pytest.approx(1)
    assert other.value + other.above == pytest.approx(4)


def test_beyond_the_books_an_interval_has_no_end():
    more = {seed: Capacity(4_096, 4_096, math.inf) for seed in range(5)}
    found = _ratio(more, of_books(512, 609))
    assert found.high == math.inf
    assert Bound(1, least_seeds=5).judge("x", found).verdict == HOLDS
    assert Bound(1.25, "below", 5).judge("x", found).verdict == FAILS
    assert Bound(9, least_seeds=5).judge("x", found).verdict == OPEN


def test_a_seed_that_lacks_a_book_is_left_out():
    whole = evidence()
    assert known(whole, Model(16, 4))[0].pairs == pytest.approx(790)
    assert sorted(known(whole, Model(16, 1))) == [0, 1, 2, 3, 4]

    def lacks(part, kind, row, experts, index, scores):
        as_the_paper_has_it(part, kind, row, experts, index, scores)
        if row == book("dense", 2048) and index == 1:
            scores.clear()

    assert sorted(known(evidence(lacks), Model(16, 1))) == [0, 2, 3, 4]


@pytest.mark.parametrize("key", BY_KEY)
@pytest.mark.parametrize("full", [False, True])
def test_what_the_paper_has_holds(key, full):
    finding = BY_KEY[key].judge(evidence(full=full))
    assert finding.verdict == HOLDS, finding
    assert finding.decides is not None


@pytest.mark.parametrize("key", BY_KEY)
def test_fewer_than_five_seeds_decide_nothing(key):
    finding = BY_KEY[key].judge(evidence(seeds=4))
    assert finding.verdict == OPEN
    assert "4 training seeds, and 5 are needed" in finding.reason
    assert LEAST_SEEDS == 5


@pytest.mark.parametrize("key", BY_KEY)
def test_a_part_that_has_not_run_is_open(key):
    part = BY_KEY[key].part
    finding = BY_KEY[key].judge(evidence(name=part, leave_out=part))
    assert finding.verdict == OPEN
    assert "no run of it is done" in finding.reason


def knowing(**pairs):
    """The first part with other books known, by row."""

    def change(part, kind, row, experts, index, scores):
        as_the_paper_has_it(part, kind, row, experts, index, scores)
        name, _, size = row.partition(", ")
        new = pairs.get(name.replace("-", "_").replace(" ", "_"))
        if part == RECALL and new:
            knows = new(experts, index) * (1 + papers.EXTRA[index])
            scores["test_accuracy"] = knowing_as_many(knows, int(size.removesuffix(" pairs")))

    return evidence(change)


def test_experts_that_add_no_recall_are_told():
    fewer = knowing(top_2=lambda experts, index: {4: 790, 32: 560}[experts] + 3 * index)
    finding = BY_KEY["recall-experts"].judge(fewer)
    assert finding.verdict == FAILS
    assert finding.decides.what == "E = 32 over E = 4"
    unsure = knowing(top_2=lambda experts, index: 1_000 if experts == 4 else 1_000 + 300 * (-1) ** index)
    assert BY_KEY["recall-experts"].judge(unsure).verdict == OPEN
    near = knowing(top_2=lambda experts, index: {4: 1_030, 32: 1_200}[experts])
    assert BY_KEY["recall-experts"].judge(near).verdict == OPEN, "both lie between the same two books"


def test_a_ratio_stands_with_the_books_it_is_of():
    finding = BY_KEY["recall-experts"].judge(evidence())
    assert [item.what for item in finding.items] == ["E = 4 over E = 1", "E = 32 over E = 4"]
    assert finding.items[1].estimate.value == pytest.approx(2_230 / 790, rel=1e-2)
    assert finding.items[1].note == "2,230 and 790"


def test_a_wide_model_that_knows_more_is_told():
    wider = knowing(width_32=lambda experts, index: 3_600)
    assert BY_KEY["recall-width"].judge(wider).verdict == FAILS
    little = knowing(width_32=lambda experts, index: 2_300)
    assert BY_KEY["recall-width"].judge(little).verdict == HOLDS
    next_book = knowing(width_32=lambda experts, index: 2_500)
    assert BY_KEY["recall-width"].judge(next_book).verdict == OPEN, "1.12 as read off, 1.41 as the books allow"


def test_experts_that_find_more_paths_are_told():
    finding = BY_KEY["paths-experts"].judge(changed(top_2=lambda index: 0.7 + papers.EXTRA[index] / 2))
    assert finding.verdict == FAILS
    a_little = changed(top_2=lambda index: 0.63 + papers.EXTRA[index] / 2)
    assert BY_KEY["paths-experts"].judge(a_little).verdict == HOLDS
    between = changed(top_2=lambda index: 0.65 + 0.03 * (-1) ** index)
    assert BY_KEY["paths-experts"].judge(between).verdict == OPEN


def test_a_width_that_finds_no_more_is_told():
    finding = BY_KEY["paths-width"].judge(changed(width_32=lambda index: 0.7 + papers.EXTRA[index] / 2))
    assert finding.verdict == FAILS
    assert finding.decides.what == "D = 32 less D = 24"
    assert finding.decides.note == "0.700 and 0.750"


def test_every_row_that_the_report_names_is_in_its_suite():
    suites = load_experiment("parrots").suites
    named = {suite.name: set(suite.row_names) for suite in suites}
    kinds = {Model(width, experts).row for width, experts in WIDTHS.items()} | {"dense"}
    assert named[PATHS] == kinds
    assert named[RECALL] == {book(kind, pairs) for kind in kinds for pairs in SIZES}
    for part, arms_of_table, _ in SIZED:
        assert set(arms_of_table) <= named[part]
    for suite in suites:
        for row in papers.rows_of(suite):
            width, experts = suite.host_of(row)["dim"], row.settings.get("experts", 1)
            if row.name.startswith("width"):
                assert WIDTHS[width] == experts
                assert f"width {width}" in row.name
            else:
                assert width == rows.NARROW
            assert f"phonebook_{row.name.split(', ')[-1].split()[0]}" == row.task or suite.name == PATHS
    assert all(suite.seeds >= LEAST_SEEDS for suite in suites)


def test_models_come_from_few_experts_to_many():
    assert [model.experts for model in by_experts(evidence(full=True), PATHS)] == [1, 4, 8, 16, 32, 64]
    assert [model.experts for model in by_experts(evidence(), RECALL)] == [1, 4, 32]
