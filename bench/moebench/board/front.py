"""The Pareto front of representation, latency and active parameters, with what is certain of each pair of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moebench.board.evidence import Evidence
from moebench.board.latency import Clock
from moebench.board.model import Entry
from moebench.board.rules import ALPHA, BUDGET_TOLERANCE, LEVEL
from moebench.board.statistics import Place, better_matrix, faster_matrix, pareto_places


def front_places(evidences: Sequence[Evidence], entries: Sequence[Entry], clock: Clock) -> dict[str, Place]:
    """Where each ranked row stands, by name; a row without one of the three measures is left out.

    Representation differs as it does in the ranks; latency, where the interval of the ratio of two rows omits 1; active
    parameters, by more than the share by which a budget may be missed.
    """
    active = {entry.variant: entry.counts.active_params for entry in entries if entry.rank and entry.counts}
    ranked = [evidence for evidence in evidences if evidence.row.name in active]
    rounds = {evidence.row.name: clock.rounds(evidence.row.name) for evidence in ranked}
    if not ranked or len({len(times) for times in rounds.values() if times}) != 1:
        return {}
    higher = ranked[0].studies[0].info.higher_is_better
    better_NN = better_matrix({evidence.row.name: evidence.scores_SM for evidence in ranked}, higher, ALPHA)
    timed = [index for index, evidence in enumerate(ranked) if rounds[evidence.row.name]]
    names = [ranked[index].row.name for index in timed]
    faster_NN = faster_matrix([rounds[name] for name in names], LEVEL)
    active_N = np.array([active[name] for name in names], dtype=np.float64)
    alike_NN = np.abs(active_N[:, None] - active_N) <= BUDGET_TOLERANCE * np.maximum(active_N[:, None], active_N)
    smaller_NN = (active_N[:, None] < active_N) & ~alike_NN
    never_NN = np.zeros_like(alike_NN)
    return pareto_places(
        names,
        np.stack([better_NN[np.ix_(timed, timed)], faster_NN, smaller_NN]),
        np.stack([never_NN, never_NN, alike_NN]),
    )
