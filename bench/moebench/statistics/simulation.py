"""Three ways to test whether two rows of a board differ, on simulated boards of equal rows: what decided for Welch's.

``python -m moebench.statistics.simulation`` prints the table of ``docs/statistics.md``.

X boards   N rows   S seeds   P pairs of rows
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.statistics.intervals import Array

Places = NDArray[np.int64]

ALPHA = 1 - 0.95

ROWS = 13
SEEDS = (3, 5, 8)

SPREADS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "equal": (1.0,) * ROWS,
        "one row 3x": (1.0,) * (ROWS - 1) + (3.0,),
        "1x to 3x": tuple(np.geomspace(1, 3, ROWS).tolist()),
    }
)
"""Standard deviations of the rows' scores over seeds, up to a common factor."""


@dataclass(frozen=True)
class Rates:
    """Shares from 0 to 1, over boards of rows with one true mean.

    family_wise: boards on which Holm's rule over all pairs calls any two rows different. coverage: 95 % intervals of a
    difference, without adjustment, that hold the true one; least_coverage: of the pair that is covered least.
    """

    family_wise: float
    coverage: float
    least_coverage: float


def paired(scores_XNS: Array, first_P: Places, second_P: Places) -> Array:
    """p-values (X, P) of Student's t test, paired by seed."""
    difference_XPS = scores_XNS[:, first_P] - scores_XNS[:, second_P]
    variance_XP = difference_XPS.var(axis=2, ddof=1)
    seeds = scores_XNS.shape[2]
    return _p_values(difference_XPS.mean(axis=2), variance_XP / seeds, np.full_like(variance_XP, seeds - 1))


def welch(scores_XNS: Array, first_P: Places, second_P: Places) -> Array:
    """p-values (X, P) of Welch's t test: every row has its own variance."""
    variance_XN = scores_XNS.var(axis=2, ddof=1)
    return _of_rows(scores_XNS, variance_XN, np.full_like(variance_XN, scores_XNS.shape[2] - 1), first_P, second_P)


def moderated(scores_XNS: Array, first_P: Places, second_P: Places) -> Array:
    """p-values (X, P) of Welch's t test with variances that were shrunk to the board's common one."""
    variance_XN, df_XN = moderated_variances(scores_XNS.var(axis=2, ddof=1), scores_XNS.shape[2] - 1)
    return _of_rows(scores_XNS, variance_XN, df_XN, first_P, second_P)


WAYS: Mapping[str, Callable[[Array, Places, Places], Array]] = MappingProxyType(
    {"paired": paired, "Welch": welch, "moderated": moderated}
)


def moderated_variances(variance_XN: ArrayLike, df: int) -> tuple[Array, Array]:
    """Variances (X, N) shrunk to the common one of their board, and the degrees of freedom that they then have.

    The empirical Bayes estimate of limma (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3:1):
    true variances are taken to be scaled inverse chi-squared with df_0 degrees of freedom around s_0^2, both estimated
    from mean and variance of log s^2 over the rows; each becomes (df_0 s_0^2 + df s^2) / (df_0 + df). df_0 is infinite
    where the variances scatter no more than chance makes equal ones. variance_XN: above zero, of ``df`` degrees each.
    """
    from scipy import special

    variance = np.asarray(variance_XN, dtype=np.float64)
    log_XN = np.log(variance) - special.digamma(df / 2) + np.log(df / 2)
    mean_X1 = log_XN.mean(axis=1, keepdims=True)
    scatter_X1 = log_XN.var(axis=1, ddof=1, keepdims=True) - special.polygamma(1, df / 2)
    more_X1 = scatter_X1 > 0
    prior_df_X1 = np.full_like(scatter_X1, np.inf)
    prior_df_X1[more_X1] = 2 * _inverse_trigamma(scatter_X1[more_X1])
    common_X1 = np.exp(mean_X1)
    half = prior_df_X1[more_X1] / 2
    common_X1[more_X1] *= np.exp(special.digamma(half) - np.log(half))
    weight_X1 = df / (prior_df_X1 + df)
    pooled = df * variance.shape[1]  # no more is known than all rows together tell
    return common_X1 + weight_X1 * (variance - common_X1), np.broadcast_to(
        np.minimum(prior_df_X1 + df, pooled), variance.shape
    )


def rates(way: str, spread_N: Sequence[float], seeds: int, boards: int) -> Rates:
    """Simulate ``boards`` boards of one task, with normal scores of these standard deviations."""
    spread = np.asarray(spread_N, dtype=np.float64)
    scores_XNS = np.random.default_rng([seeds, len(spread)]).normal(size=(boards, len(spread), seeds))
    first_P, second_P = np.triu_indices(len(spread), k=1)
    p_XP = WAYS[way](scores_XNS * spread[:, None], first_P, second_P)
    covered_P = np.mean(p_XP >= ALPHA, axis=0)
    return Rates(
        family_wise=float(np.mean(p_XP.min(axis=1) * len(first_P) < ALPHA)),
        coverage=float(covered_P.mean()),
        least_coverage=float(covered_P.min()),
    )


def _of_rows(scores_XNS: Array, variance_XN: Array, df_XN: Array, first_P: Places, second_P: Places) -> Array:
    mean_XN, error_XN = scores_XNS.mean(axis=2), variance_XN / scores_XNS.shape[2]
    first_XP, second_XP = error_XN[:, first_P], error_XN[:, second_P]
    total_XP = first_XP + second_XP
    df_XP = total_XP**2 / (first_XP**2 / df_XN[:, first_P] + second_XP**2 / df_XN[:, second_P])
    return _p_values(mean_XN[:, first_P] - mean_XN[:, second_P], total_XP, df_XP)


def _p_values(difference: Array, variance: Array, df: Array) -> Array:
    from scipy import special

    p: Array = 2 * special.stdtr(df, -np.abs(difference) / np.sqrt(variance))
    return p


def _inverse_trigamma(value: Array) -> Array:
    """Newton's iteration on 1 / trigamma, which is nearly straight (Smyth 2004, appendix)."""
    from scipy import special

    found = 0.5 + 1 / value
    for _ in range(10):
        trigamma = special.polygamma(1, found)
        found = found + trigamma * (1 - trigamma / value) / special.polygamma(2, found)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Error rates of three tests on simulated boards of 13 equal rows.")
    parser.add_argument(
        "--boards", type=int, default=20_000, help="simulated boards of each line (default: %(default)s)"
    )
    boards = parser.parse_args().boards
    print("| spread of the rows | seeds | " + " | ".join(WAYS) + " |")
    print("| --- | ---: |" + " --- |" * len(WAYS))
    for name, spread_N in SPREADS.items():
        for seeds in SEEDS:
            found = [rates(way, spread_N, seeds, boards) for way in WAYS]
            cells = [f"{r.family_wise:.1%}; {r.coverage:.1%}, {r.least_coverage:.1%}" for r in found]
            print(f"| {name} | {seeds} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
