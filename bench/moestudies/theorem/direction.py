"""The unit vector v along which the tokens of a pair lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moestudies.theorem.router import Array

CANDIDATES = 2048


@dataclass(frozen=True)
class Direction:
    """v_D of norm 1 with the scores phi_j . v of the columns.

    top: the largest score, positive. lead: top less the next score, among columns that differ; infinite when all
    columns are equal.
    """

    v_D: Array
    top: float
    lead: float

    def rate(self, low: float, high: float) -> float:
        """The exponent per unit of scale at which a pair with these shares becomes the same to the layer."""
        return min(low * self.lead, (1 - high) * self.top)


def best_direction(phi_DS: Array, low: float, high: float, seed: int = 0) -> Direction:
    """The candidate of largest :meth:`Direction.rate`; phi_DS has a column that is not zero.

    Candidates are the columns themselves and 2,048 seeded random vectors. The longest column alone would do: along
    it every other column scores less, so that its rate is positive.
    """
    size = np.abs(phi_DS).max()
    columns_DU = np.unique(phi_DS / size, axis=1)  # equal columns are tied for ever, and no rivals
    rows_CD = np.concatenate([columns_DU.T, np.random.default_rng(seed).standard_normal((CANDIDATES, len(phi_DS)))])
    length_C = np.linalg.norm(rows_CD, axis=1)
    rows_CD = rows_CD[length_C > 0] / length_C[length_C > 0, None]
    scores_CU = np.sort(rows_CD @ columns_DU, axis=1)
    top_C = scores_CU[:, -1]
    lead_C = top_C - scores_CU[:, -2] if scores_CU.shape[1] > 1 else np.full_like(top_C, np.inf)
    best = int(np.minimum(low * lead_C, (1 - high) * top_C).argmax())
    return Direction(rows_CD[best], float(top_C[best] * size), float(lead_C[best] * size))
