"""Two inputs for a given router, whose norms differ and whose outputs do not, at any scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moebench.errors import UsageError
from moestudies.theorem.constructions import Construction, EqualMeans, LargestWins
from moestudies.theorem.direction import best_direction
from moestudies.theorem.router import Array, RouterWeights

SHARES = (0.2, 0.8)
"""Nearer to 0 and 1 the norms differ more, and the outputs agree later."""


@dataclass(frozen=True)
class PairFamily:
    """The inputs A and B of T tokens at every scale; they differ in the share of the small tokens."""

    construction: Construction
    tokens: int
    shares: tuple[float, float]

    def at(self, scale_N: Array) -> tuple[Array, Array]:
        """a_NTD and b_NTD at the scales a > 0."""
        low_T, high_T = (self.construction.coefficients(share, self.tokens) for share in self.shares)
        v_D = self.construction.v_D
        return np.einsum("n,t,d->ntd", scale_N, low_T, v_D), np.einsum("n,t,d->ntd", scale_N, high_T, v_D)

    def bound(self, scale_N: Array, lipschitz: float, at_zero: float) -> Array:
        """What is proved: ||layer(A) - layer(B)||_2 at each scale is at most this.

        lipschitz: a Lipschitz constant of all experts. at_zero: the largest ||f_j(0)||, 0 without biases.
        """
        distance = self.construction.distance
        low, high = self.shares
        return distance(low, self.tokens, scale_N, lipschitz, at_zero) + distance(
            high, self.tokens, scale_N, lipschitz, at_zero
        )


def pairs(router: RouterWeights, tokens: int, shares: tuple[float, float] = SHARES) -> PairFamily:
    """The family for this router: exists for every phi_DS, every E and P, and T >= 2 tokens.

    shares: those of A and of B, 0 < A's < B's < 1. :class:`UsageError` for other shares, and for one token, of which
    an expert may well return the norm.
    """
    if tokens < 2:
        raise UsageError(f"{tokens} token: an expert can return the norm of a single token; the theorem needs T >= 2.")
    low, high = shares
    if not 0 < low < high < 1:
        raise UsageError(f"the shares {low} and {high} must satisfy 0 < first < second < 1.")
    return PairFamily(_construction(router, low, high), tokens, shares)


def _construction(router: RouterWeights, low: float, high: float) -> Construction:
    if router.scale is None and router.phi_DS.any():
        return LargestWins(best_direction(router.phi_DS, low, high), router.phi_DS.shape[1])
    any_unit_D = np.eye(len(router.phi_DS))[0]
    return EqualMeans(any_unit_D, abs(router.scale or 0.0))
