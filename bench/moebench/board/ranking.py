"""Ranks, comparisons with reference rows, the Pareto front, and the error rates of such a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from moebench.board.estimates import mean_counts, validation_scores
from moebench.board.evidence import RowRuns
from moebench.board.latency import Clock
from moebench.board.model import Against, Entry, Rung
from moebench.board.reasons import Reason
from moebench.board.rules import ALPHA, BUDGET_TOLERANCE
from moebench.plans.rows import BASELINE
from moebench.statistics import (
    Calibration,
    Place,
    Power,
    better_matrix,
    calibrate,
    faster_matrix,
    holm,
    order_turns,
    pareto_places,
    pooled_spread,
    power_of,
    rank_survival,
    ranks_of,
    welch_test,
)

LEAST_SHARE = 0.01
"""Of the largest spread: what a task counts for in the calibration on which all seeds scored the same by chance."""

Reasons = Mapping[str, Reason | None]
"""By row: why it has no rank."""


@dataclass(frozen=True)
class Ranking:
    """The rows that may be ranked, and better_NN: which is significantly better than which."""

    names: tuple[str, ...]
    better_NN: NDArray[np.bool_]

    @property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """Rank intervals by name."""
        return dict(zip(self.names, ranks_of(self.better_NN), strict=True))

    def better_than(self, name: str) -> tuple[str, ...]:
        """The rows that a row is significantly better than, by name; none where it has no rank."""
        if name not in self.names:
            return ()
        return tuple(sorted(compress(self.names, self.better_NN[self.names.index(name)].tolist())))


def rank_rows(evidences: Sequence[RowRuns], reasons: Reasons) -> Ranking:
    """Compare all rows that may be ranked, in pairs."""
    ranked = {e.row.name: e.scores_SM for e in evidences if not reasons[e.row.name]}
    return Ranking(tuple(ranked), better_matrix(ranked, evidences[0].higher_is_better, ALPHA))


def tuning_survival(
    ranking: Ranking, evidences: Sequence[RowRuns], sampler: str
) -> tuple[dict[str, float], dict[str, float], Reason | None]:
    """How often the rank of each ranked row survives resampled tunings, and how often the next row overtakes it, by
    name; or why that is not known.
    """
    if sampler == "tpe":
        return {}, {}, Reason("dependent_trials", sampler=sampler)
    ranked = {e.row.name: e for e in evidences if e.row.name in ranking.names}
    validation = {name: [validation_scores(study) for study in each.studies] for name, each in ranked.items()}
    if any(len(trials) < 2 for tasks in validation.values() for trials in tasks):
        return {}, {}, Reason("one_trial")
    scores = {name: float(np.mean(each.scores_SM)) for name, each in ranked.items()}
    higher = evidences[0].higher_is_better
    turns = order_turns(scores, validation, higher_is_better=higher)
    return rank_survival(scores, validation, ranking.ranks, higher_is_better=higher), turns, None


def in_order(entries: Sequence[Entry], higher_is_better: bool = True) -> tuple[Entry, ...]:
    """Ranked rows by rank and score, then the unranked, then reference rows, both in the suite's order."""
    sign = -1 if higher_is_better else 1

    def key(entry: Entry) -> tuple[int, int, float]:
        if entry.rank is not None and entry.representation is not None:
            return (0, entry.rank[0], sign * entry.representation.value)
        return (2 if entry.reference else 1, 0, 0.0)

    return tuple(sorted(entries, key=key))


def against_references(evidences: Sequence[RowRuns], reasons: Reasons, higher: bool) -> tuple[Against, ...]:
    """Each complete reference row, with the ranked rows that are significantly better, worse, and neither.

    Welch's tests with Holm's rule over all pairs of a ranked row and a reference row; the ranks' own adjustment is
    without reference rows, so that they cost it no power.
    """
    ranked = [each for each in evidences if not reasons[each.row.name]]
    references = [each for each in evidences if each.row.reference and each.complete]
    pairs = [(reference, row) for reference in references for row in ranked]
    tests = [welch_test(row.scores_SM, reference.scores_SM) for reference, row in pairs]
    adjusted = holm([test.p_value for test in tests])
    verdicts: dict[str, dict[str, list[str]]] = {each.row.name: {} for each in references}
    for (reference, row), test, p in zip(pairs, tests, adjusted, strict=True):
        verdict = "level" if p >= ALPHA else "better" if (test.difference > 0) == higher else "worse"
        verdicts[reference.row.name].setdefault(verdict, []).append(row.row.name)
    return tuple(
        Against(reference=name, **{verdict: tuple(rows) for verdict, rows in found.items()})
        for name, found in verdicts.items()
        if found
    )


def on_pareto(ranking: Ranking, evidences: Sequence[RowRuns], clock: Clock) -> dict[str, Place]:
    """The place of each ranked row by the Pareto front of representation, latency and active parameters, by name.

    A row without one of the three is left out. Representation differs as in the ranks; latency by the sign test over
    rounds, adjusted over all pairs, too; active parameters by more than the tolerance of a budget.
    """
    counts = {e.row.name: mean_counts(e.studies) for e in evidences}
    active = {name: found.active_params for name, found in counts.items() if found}
    rounds = {name: clock.rounds(name) for name in ranking.names if name in active}
    timed = [name for name in ranking.names if rounds.get(name)]
    if len({len(rounds[name]) for name in timed}) != 1:
        return {}
    places = [ranking.names.index(name) for name in timed]
    faster_NN = faster_matrix([rounds[name] for name in timed], ALPHA)
    active_N = np.array([active[name] for name in timed], dtype=np.float64)
    alike_NN = np.abs(active_N[:, None] - active_N) <= BUDGET_TOLERANCE * np.maximum(active_N[:, None], active_N)
    smaller_NN = (active_N[:, None] < active_N) & ~alike_NN
    never_NN = np.zeros_like(alike_NN)
    return pareto_places(
        timed,
        np.stack([ranking.better_NN[np.ix_(places, places)], faster_NN, smaller_NN]),
        np.stack([never_NN, never_NN, alike_NN]),
    )


SMALLEST_SHARE = 0.005
"""Half a point of a share, such as accuracy; of any other score so much of that of dense: the smallest difference that
matters, unless a suite names one.
"""


def power(evidences: Sequence[RowRuns], reasons: Reasons, smallest: float | None) -> Power | None:
    """How many seeds the smallest difference that matters needs, with the spread of the ranked rows, pooled; None where
    they show none.
    """
    ranked = [each for each in evidences if not reasons[each.row.name]]
    if not ranked:
        return None
    spread_M = pooled_spread([each.scores_SM for each in ranked])
    dense = next((each for each in ranked if each.row.name == BASELINE), ranked[0])
    scale = 1.0 if dense.unit == "share" else abs(float(np.mean(dense.scores_SM)))
    difference = smallest or SMALLEST_SHARE * scale
    if not spread_M.any() or not difference:
        return None
    return power_of(difference, spread_M, len(ranked) * (len(ranked) - 1) // 2, ALPHA)


def calibration(evidences: Sequence[RowRuns], seeds: int, rungs: Sequence[Rung]) -> Calibration | None:
    """Simulate boards of so many seeds, budgets and rows, with the spreads that dense shows on the tasks at the first
    budget; None for one seed, which has no interval.
    """
    if seeds < 2:
        return None
    dense = next((e for e in evidences if e.row.name == BASELINE and e.complete), None)
    tasks = len(evidences[0].studies)
    spread_M = np.std(dense.scores_SM, axis=0, ddof=1) if dense else np.ones(tasks)
    largest = float(spread_M.max()) or 1.0
    return calibrate(
        np.maximum(spread_M / largest, LEAST_SHARE),
        seeds,
        max(sum(entry.rank is not None for entry in rungs[0].entries), 2),
        references=len(rungs[0].against),
        budgets=len(rungs),
    )
