"""The Pareto front of representation, latency and active parameters, with what is certain of each pair of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moebench.board.latency import Clock
from moebench.board.model import Entry
from moebench.board.ranking import Told
from moebench.board.rules import ALPHA, BUDGET_TOLERANCE
from moebench.board.statistics import Place, faster_matrix, pareto_places


def front_places(told: Told, entries: Sequence[Entry], clock: Clock) -> dict[str, Place]:
    """Where each ranked row stands, by name; a row without one of the three measures is left out.

    Representation differs as it does in the ranks; latency, by the sign test over rounds, adjusted over all pairs, too;
    active parameters, by more than the share by which a budget may be missed.
    """
    active = {entry.variant: entry.counts.active_params for entry in entries if entry.counts}
    rounds = {name: clock.rounds(name) for name in told.names if name in active}
    timed = [name for name in told.names if rounds.get(name)]
    if len({len(rounds[name]) for name in timed}) != 1:
        return {}
    places = [told.names.index(name) for name in timed]
    faster_NN = faster_matrix([rounds[name] for name in timed], ALPHA)
    active_N = np.array([active[name] for name in timed], dtype=np.float64)
    alike_NN = np.abs(active_N[:, None] - active_N) <= BUDGET_TOLERANCE * np.maximum(active_N[:, None], active_N)
    smaller_NN = (active_N[:, None] < active_N) & ~alike_NN
    never_NN = np.zeros_like(alike_NN)
    return pareto_places(
        timed,
        np.stack([told.better_NN[np.ix_(places, places)], faster_NN, smaller_NN]),
        np.stack([never_NN, never_NN, alike_NN]),
    )
