"""The suite multitask and its study: every claim is decided by made-up evidence, one way and the other."""

import random

import pytest

from moebench.studies import study_of
from moebench.suites import load_experiment
from moestudies.home import CORRELATIONS, OF_TARGETS, ORDER, PARTS, REPORT, gain

(SUITE,) = load_experiment("multitask").suites


def test_the_suite_has_every_row_that_the_study_asks_for():
    rows = {*SUITE.row_names}
    assert study_of(load_experiment("multitask")) is REPORT
    assert {*ORDER, *PARTS} <= rows
    assert {f"{row} {c}" for row in ORDER for c in CORRELATIONS} <= rows
    assert {f"only {target}" for target in OF_TARGETS} <= rows
    assert {f"all {row}" for row in ORDER} <= rows
    assert SUITE.seeds >= 5
    assert "correlated?correlation=20" in SUITE.all_tasks
    assert {row.budget for row in SUITE.row} == {132_000, 13_200}


class Made:
    """Evidence: (kind, row, score) or (kind, row) -> a level with a little noise in each seed."""

    parts = ()

    def __init__(self, levels):
        self.levels = levels

    def values(self, part, kind, row, score):
        level = self.levels.get((kind, row, score), self.levels.get((kind, row)))
        if level is None:
            return {}
        noise = random.Random(f"{kind} {row} {score}")
        return {seed: level + noise.uniform(-2e-3, 2e-3) for seed in range(5)}


def evidence(sign=1, **changed):
    """As the paper has it; with ``sign`` -1 the other way round."""
    levels = {}
    for place, row in enumerate(ORDER):
        levels["final", row] = 0.80 - 0.02 * sign * place
        levels["final", f"all {row}"] = 0.80 - 0.02 * sign * place
        for c in CORRELATIONS:
            loss = (1 - c / 100) * (0.1 if row == "dense" else 0.02)
            levels["final", f"{row} {c}"] = 0.9 - sign * loss
    levels |= {("final", row): 0.80 - 0.03 * sign for row in PARTS}
    levels |= {("final", f"only {target}"): 0.80 - 0.05 * sign for target in OF_TARGETS}
    for score in ("collapsed", "degradation", "underfitting"):
        levels |= {("views", row, score): 0.4 + 0.2 * sign for row in ("mmoe", "ple", *PARTS)}
        levels["views", "home", score] = 0.4
    return Made({**levels, **changed})


@pytest.mark.parametrize(("sign", "verdict"), [(1, "holds"), (-1, "does not hold")])
def test_every_claim_follows_its_rule(sign, verdict):
    made = evidence(sign)
    assert {claim.key: claim.judge(made).verdict for claim in REPORT.claims} == dict.fromkeys(
        [claim.key for claim in REPORT.claims], verdict
    )


def test_a_cure_is_not_testable_where_nothing_collapses():
    (claim,) = [claim for claim in REPORT.claims if claim.key == "collapse"]
    made = Made({})
    made.values = lambda part, kind, row, score: dict.fromkeys(range(5), collapsed[row])
    collapsed = {"mmoe": 0.0, "ple": 0.0, "home": 0.0}
    found = claim.judge(made)
    assert found.verdict == "not testable at this scale"
    assert found.reason == "no expert of any of these rows collapses"
    collapsed["home"] = 0.25
    assert claim.judge(made).verdict == "undecided", "HoME's own collapse counts"
    assert claim.judge(Made({})).verdict == "undecided", "what has not run is not 0"


def test_nothing_has_run():
    assert {claim.judge(Made({})).verdict for claim in REPORT.claims} == {"undecided"}
    assert [table(Made({})) for table in REPORT.tables] == [None] * len(REPORT.tables)


def test_the_gain_by_hand():
    levels = {("final", f"only {t}", f"test_{kind}_{t}"): 0.5 for t, kind in OF_TARGETS.items()}
    whole = dict(zip(OF_TARGETS, (0.5, 0.6, 0.7, 0.4), strict=True))
    levels |= {("final", "all home", f"test_{kind}_{t}"): whole[t] for t, kind in OF_TARGETS.items()}
    made = Made(levels)
    made.values = lambda part, kind, row, score: {0: levels[kind, row, score]} if (kind, row, score) in levels else {}
    # (0 + 0.1 + 0.2 - 0.1) / 4
    assert gain(made, "home") == {0: pytest.approx(0.05)}
    assert gain(made, "ple") == {}


def test_tables_show_every_row_and_target():
    targets, anomalies, gained = (table(evidence()) for table in REPORT.tables)
    assert targets.head == ("row", "mean", *OF_TARGETS)
    assert [row[0] for row in targets.rows] == [*ORDER, *PARTS]
    assert [row[0] for row in anomalies.rows] == [*ORDER[:-1], *PARTS]
    assert [row[0] for row in gained.rows] == [*ORDER]
