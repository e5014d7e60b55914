"""The two families of inputs, one token large and T - 1 small, and what a layer can still see of the small ones.

Both give T tokens a c_t v. ``share``, between 0 and 1, is the coefficient of the small tokens; the layer's output
tends to a limit F(a), the same in every row, that does not depend on it. ``distance`` bounds ||layer(X) - F||_2 over
all entries of the output. In every bound the experts satisfy ||f(x) - f(y)|| <= lipschitz ||x - y|| and
||f(0)|| <= at_zero, and so ||f(x)|| <= at_zero + lipschitz ||x||.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from moestudies.theorem.direction import Direction
from moestudies.theorem.router import Array

EPS = 1e-6
"""Inside the root of the router's l2 norm, as in arXiv 2308.00951."""

OVERFLOW = 300.0
"""An exponent beyond which the bound says nothing anyway."""


class Construction(Protocol):
    """A family of inputs that differ in ``share`` alone."""

    @property
    def v_D(self) -> Array:
        """The unit vector along which all tokens lie."""
        ...

    def coefficients(self, share: float, tokens: int) -> Array:
        """c_T."""
        ...

    def distance(self, share: float, tokens: int, scale_N: Array, lipschitz: float, at_zero: float) -> Array:
        """A bound for ||layer(X) - F(a)||_2 at each scale a."""
        ...


@dataclass(frozen=True)
class LargestWins:
    """c = (1, share, ..., share), for a plain router that is not zero.

    J are the columns of largest score phi_j . v = top > 0. Their slots become the first token, a v: every other one
    has at most exp(-a (1 - share) top) of its weight. Every row's score is a positive multiple of the columns', so
    that all rows give their combine weight to J, in equal parts, but for (S - 1) exp(-a share lead). So
    F(a) = mean over J of f_j(a v). The slots of other columns may see the small tokens, and nobody listens.
    """

    direction: Direction
    slots: int

    @property
    def v_D(self) -> Array:
        """The unit vector along which all tokens lie."""
        return self.direction.v_D

    def coefficients(self, share: float, tokens: int) -> Array:
        """c_T."""
        return np.array([1.0, *[share] * (tokens - 1)])

    def distance(self, share: float, tokens: int, scale_N: Array, lipschitz: float, at_zero: float) -> Array:
        """sqrt(T) times what one row can differ by: the shift of the slots in J, and the weight outside J."""
        shift_N = (1 - share) * (tokens - 1) * np.exp(-scale_N * (1 - share) * self.direction.top)
        outside_N = (self.slots - 1) * np.exp(-scale_N * share * self.direction.lead)
        largest_N = at_zero + lipschitz * scale_N
        row_N: Array = lipschitz * scale_N * shift_N + 2 * largest_N * outside_N
        return math.sqrt(tokens) * row_N


@dataclass(frozen=True)
class EqualMeans:
    """c = (T - (T - 1) share, share, ..., share), for a router to which all these tokens look alike.

    Their mean is a v whatever the share. A normalising router sees c_t a v / sqrt((c_t a)^2 + eps), which is v but
    for eta = eps / (2 (share a)^2); its logits are those of v but for strength x eta, with strength =
    |router.scale|, as l2norm(phi) is at most 1. So every slot tends to the mean, every row has the combine weights w
    of v, and F(a) = sum of w_j f_j(a v). A plain router with phi = 0 has strength 0: the outputs are equal.
    """

    v_D: Array
    strength: float

    def coefficients(self, share: float, tokens: int) -> Array:
        """c_T."""
        return np.array([tokens - (tokens - 1) * share, *[share] * (tokens - 1)])

    def distance(self, share: float, tokens: int, scale_N: Array, lipschitz: float, at_zero: float) -> Array:
        """sqrt(T) times what one row can differ by: O(1/a), not exponential, because of eps."""
        blur_N = np.minimum(self.strength * EPS / (2 * (share * scale_N) ** 2), OVERFLOW)
        largest_N = at_zero + lipschitz * scale_N * np.exp(blur_N)
        row_N: Array = lipschitz * scale_N * np.expm1(blur_N) + largest_N * np.expm1(2 * blur_N)
        return math.sqrt(tokens) * row_N
