"""The report on compression: verdicts flip when numbers flip, every way is read, and the page is whole."""

from __future__ import annotations

import json

import pytest

import compressions
from moebench.studies.claim import FAILS, HOLDS, OPEN
from moebench.studies.evidence import Evidence, Part
from moebench.studies.plot import draw
from moebench.studies.write import write_evidence, write_report
from moebench.suites import load_experiment
from moestudies.compress import REPORT
from moestudies.compress.claims import CLAIMS
from moestudies.compress.figures import PLOTS
from moestudies.compress.rows import EXPERTS, KEEPS, SEEDS, TRAINED_SMALL, WAYS
from moestudies.compress.tables import before_and_after

BY_KEY = {claim.key: claim for claim in CLAIMS}
(SUITE,) = load_experiment("compress").suites


@pytest.mark.parametrize("key", BY_KEY)
def test_as_the_papers_have_it_every_claim_holds(key):
    finding = BY_KEY[key].judge(compressions.evidence())
    assert finding.verdict == HOLDS, finding


@pytest.mark.parametrize("key", BY_KEY)
def test_fewer_than_five_seeds_settle_nothing(key):
    finding = BY_KEY[key].judge(compressions.evidence(seeds=SEEDS - 1))
    assert finding.verdict == OPEN
    assert "4 training seeds, and 5 are needed" in finding.reason


@pytest.mark.parametrize(
    ("left_out", "keys"),
    [
        ("merge", {*BY_KEY} - {"compress-for-nothing", "reap-over-usage", "usage-over-random", "faster"}),
        ("merge_compress", {"compress-for-nothing"}),
        ("prune_reap", {"reap-over-merge", "reap-over-usage"}),
        ("prune_usage", {"merge-over-usage", "reap-over-usage", "usage-over-random"}),
        ("prune_random", {"usage-over-random", "choice-after-recovery"}),
        ("merge, not aligned", {"aligned"}),
        ("keep_all", {"merge-for-nothing", "compress-for-nothing", "lower-rank"}),
        ("small 4", {"beats-small"}),
        ("cost", {"faster"}),
    ],
)
def test_what_has_not_run_leaves_its_claims_open_and_no_others(left_out, keys):
    evidence = compressions.evidence(leave_out=left_out)
    verdicts = {claim.key: claim.judge(evidence) for claim in CLAIMS}
    assert {key for key, finding in verdicts.items() if finding.verdict == OPEN} == keys
    assert all("it has not run" in verdicts[key].reason for key in keys)


def at(name, keep, **new):
    """A change of one way's scores, at one number kept, to a number that differs a little from seed to seed."""

    def change(its_name, its_keep, index, scores):
        if (its_name, its_keep) == (name, keep):
            scores.update({score.replace("__", " "): value * (1 + index / 1000) for score, value in new.items()})

    return change


def slower(name, keep, index, scores):
    if name == "cost":
        scores["merge_compress 8 model_ms batch=100"] = 90.0 + index


FLIPS = {
    "merge-over-usage": at("prune by usage", 2, after=0.5),
    "merge-for-nothing": at("merge", 8, after=0.3),
    "compress-for-nothing": at("merge, then compress", 8, layers_params=300_000),
    "lower-rank": at("merge", 4, stable_rank=5.0),
    "reap-over-merge": at("merge", 8, unrecovered=0.5),
    "reap-over-usage": at("prune by usage", 4, unrecovered=0.5),
    "usage-over-random": at("prune at random", 2, unrecovered=0.5),
    "aligned": at("merge, not aligned", 2, unrecovered=0.5),
    "choice-after-recovery": at("prune at random", 8, after=0.5),
    "beats-small": at("small 2", 0, test_accuracy=0.6),
    "faster": slower,
}


@pytest.mark.parametrize("key", BY_KEY)
def test_one_number_that_says_otherwise_is_enough_against(key):
    assert BY_KEY[key].judge(compressions.evidence(change=FLIPS[key])).verdict == FAILS


@pytest.mark.parametrize(
    "change", [at("merge, then compress", 8, model_flops=9e6), at("merge, then compress", 8, after=0.2)]
)
def test_memory_work_and_accuracy_all_count(change):
    assert BY_KEY["compress-for-nothing"].judge(compressions.evidence(change=change)).verdict == FAILS


def test_an_interval_that_includes_nothing_is_open():
    def change(name, keep, index, scores):
        if (name, keep) == ("merge", 4):
            scores["after"] = 0.36 + (index - 2) / 50

    finding = BY_KEY["choice-after-recovery"].judge(compressions.evidence(change=change))
    assert finding.verdict == OPEN
    assert finding.reason == f"4 of {EXPERTS} experts: the interval includes the bound 0"


def test_the_table_has_a_row_for_every_way_and_number_before_and_after():
    table = before_and_after(compressions.evidence())
    assert len(table.rows) == 2 + len(KEEPS) * len(WAYS) + len(TRAINED_SMALL)
    rows = {row[0]: row[1:] for row in table.rows}
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert rows["as it was trained, 16 experts"] == ("0.400 ±0.003", "-", "532k", "2.2", "10M", "0.52 ms", "52 ms")
    assert rows["merge, then compress, 8"][2:] == ("79.8k", "0.5", "6M", "0.43 ms", "43 ms")
    assert rows["prune at random, 2"][-2:] == ("-", "-")
    assert rows["trained with 4"][:2] == ("-", "0.370 ±0.000")
    assert before_and_after(compressions.evidence(leave_out="keep_all")) is None


def test_figures_bear_a_missing_way_and_nothing_at_all():
    drawn, absent = draw(PLOTS, compressions.evidence(leave_out="prune_reap"))
    assert (len(drawn), absent) == (len(PLOTS), [])
    drawn, absent = draw(PLOTS, Evidence("compress", "", (Part(SUITE, False, 5, ()),)))
    assert (drawn, len(absent)) == ([], len(PLOTS))


def test_the_report_is_written_with_its_rules_and_its_table(tmp_path):
    page = write_evidence(REPORT, compressions.evidence(), tmp_path / "first")
    text, markdown = page.read_text(), (page.parent / "report.md").read_text()
    claims = json.loads((page.parent / "claims.json").read_text())["claims"]
    assert [claim["key"] for claim in claims] == list(BY_KEY)
    for claim in CLAIMS:
        assert claim.rule in markdown
    assert {path.stem for path in (page.parent / "figures").glob("*.svg")} == {plot.name for plot in PLOTS}
    assert "merge 0.350, then 0.398" in text
    for written in (text, markdown):
        assert "Of 8 published claims 8 hold, 0 do not hold, and 0 are undecided. Of 3 extensions" in written
        assert "prune by saliency (REAP), 8" in written
        assert "MiB of weights" in written
    again = write_report(load_experiment("compress"), page.parent, tmp_path, tmp_path / "second")
    assert again.read_text() == text
