"""What the board's intervals and ranks do on simulated boards like it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moebench.board.evidence import Evidence
from moebench.board.model import Rung
from moebench.board.statistics import Calibration, calibrate
from moebench.planning.rows import BASELINE

LEAST_SHARE = 0.01
"""Of the largest spread: what a task counts for on which all seeds scored the same by chance."""


def calibration(evidences: Sequence[Evidence], seeds: int, rungs: Sequence[Rung]) -> Calibration | None:
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
