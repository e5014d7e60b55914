"""The statistics of boards, reports and measures: pure functions of numbers, no files and no state.

The training seed is the only unit of replication. The argument of nearly every function is a matrix of scores:

    scores_SM   one variant's scores, (S seeds, M tasks); column m is the same task for every variant. Only the
                functions of the name ``paired`` ask that row s is the same seed for both

With one seed, or seeds that do not differ, an interval has no bounds (``None``) and a p-value is 1.
``docs/statistics.md`` gives the formulas.
"""

from moebench.statistics.calibration import Calibration, calibrate
from moebench.statistics.comparisons import (
    Place,
    TTest,
    better_matrix,
    chance_better,
    faster_matrix,
    holm,
    paired_test,
    pareto_places,
    rank_intervals,
    ranks_of,
    trend_p_value,
    welch_test,
)
from moebench.statistics.intervals import (
    Interval,
    expected_best,
    expected_best_curve,
    mean_interval,
    median_interval,
    paired_interval,
    ratio_interval,
    welch_interval,
)
from moebench.statistics.power import Power, pooled_spread, power_of
from moebench.statistics.resampling import order_turns, rank_survival

__all__ = [
    "Calibration",
    "Interval",
    "Place",
    "Power",
    "TTest",
    "better_matrix",
    "calibrate",
    "chance_better",
    "expected_best",
    "expected_best_curve",
    "faster_matrix",
    "holm",
    "mean_interval",
    "median_interval",
    "order_turns",
    "paired_interval",
    "paired_test",
    "pareto_places",
    "pooled_spread",
    "power_of",
    "rank_intervals",
    "rank_survival",
    "ranks_of",
    "ratio_interval",
    "trend_p_value",
    "welch_interval",
    "welch_test",
]
