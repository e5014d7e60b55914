"""Two inputs for a given router, whose norms differ and whose outputs do not, at any scale.

Both inputs have one large token and T - 1 small ones: token t is a c_t v. ``share``, between 0 and 1, is the
coefficient of the small tokens. The layer's output tends to a limit F(a), the same in every row, that does not depend
on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from moebench.errors import UsageError

Array = npt.NDArray[np.float64]
CANDIDATES = 2048
SHARES = (0.2, 0.8)
"""Nearer to 0 and 1 the norms differ more, and the outputs agree later."""


@dataclass(frozen=True)
class RouterWeights:
    """phi_DS, and ``scale``: None for logits x phi, else that of l2norm(x) . (scale l2norm(phi)).

    :class:`UsageError` for what is no finite matrix or number.
    """

    phi_DS: Array
    scale: float | None = None

    def __post_init__(self) -> None:
        finite = bool(np.isfinite(self.phi_DS).all()) and np.isfinite(self.scale or 0.0)
        if self.phi_DS.ndim != 2 or not self.phi_DS.size or not finite:
            raise UsageError(
                f"the router has phi_DS of shape {self.phi_DS.shape} and the scale {self.scale}; it needs a matrix "
                "(D, S) of finite numbers, and a finite scale or None.",
                code="bad-router-weights",
                shape=self.phi_DS.shape,
                scale=self.scale,
            )


def router_weights(layer: Any) -> RouterWeights:
    """Those of any layer with ``router.phi_DS`` (D, S) and ``router.scale`` (None or one number)."""
    router: Any = getattr(layer, "router", None)
    phi_DS = getattr(router, "phi_DS", None)
    if not isinstance(phi_DS, Tensor) or not hasattr(router, "scale"):
        raise UsageError(
            f"{type(layer).__name__} has no router.phi_DS with router.scale; the theorem is about Soft MoE layers.",
            code="no-soft-moe-router",
            layer=type(layer).__name__,
        )
    scale = router.scale
    return RouterWeights(phi_DS.detach().double().cpu().numpy(), None if scale is None else float(scale.detach()))


@dataclass(frozen=True)
class PairFamily:
    """The inputs A and B of T tokens at every scale; they differ in the share of the small tokens.

    v_D: the unit vector along which all tokens lie. coefficients: c_T of (share, T).
    """

    v_D: Array
    coefficients: Callable[[float, int], Array]
    tokens: int
    shares: tuple[float, float]

    def at(self, scale_N: Array) -> tuple[Array, Array]:
        """a_NTD and b_NTD at the scales a > 0."""
        a_T, b_T = (self.coefficients(share, self.tokens) for share in self.shares)
        return np.einsum("n,t,d->ntd", scale_N, a_T, self.v_D), np.einsum("n,t,d->ntd", scale_N, b_T, self.v_D)


def pairs(router: RouterWeights, tokens: int, shares: tuple[float, float] = SHARES) -> PairFamily:
    """The family for this router: exists for every phi_DS, every E and P, and T >= 2 tokens.

    shares: those of A and of B, 0 < A's < B's < 1. :class:`UsageError` for other shares, and for one token, of which
    an expert may well return the norm.
    """
    if tokens < 2:
        raise UsageError(
            f"{tokens} token: an expert can return the norm of a single token; the theorem needs T >= 2.",
            code="theorem-needs-two-tokens",
            tokens=tokens,
        )
    low, high = shares
    if not 0 < low < high < 1:
        raise UsageError(
            f"the shares {low} and {high} must satisfy 0 < first < second < 1.", code="bad-shares", shares=shares
        )
    if router.scale is None and router.phi_DS.any():
        return PairFamily(best_direction(router.phi_DS, low, high).v_D, largest_wins, tokens, shares)
    any_unit_D = np.eye(len(router.phi_DS))[0]
    return PairFamily(any_unit_D, equal_means, tokens, shares)


def largest_wins(share: float, tokens: int) -> Array:
    """c = (1, share, ..., share), for a plain router that is not zero.

    J are the columns of largest score phi_j . v = top > 0. Their slots become the first token, a v: every other one
    has at most exp(-a (1 - share) top) of its weight. Every row's score is a positive multiple of the columns', so
    that all rows give their combine weight to J, in equal parts, but for (S - 1) exp(-a share lead). So
    F(a) = mean over J of f_j(a v). The slots of other columns may see the small tokens, but get no combine weight.
    """
    return np.array([1.0, *[share] * (tokens - 1)])


def equal_means(share: float, tokens: int) -> Array:
    """c = (T - (T - 1) share, share, ..., share), for a router to which all these tokens look alike.

    Their mean is a v whatever the share. A normalising router sees c_t a v / sqrt((c_t a)^2 + eps), which is v but
    for eta = eps / (2 (share a)^2); its logits are those of v but for |router.scale| eta, as l2norm(phi) is at most
    1. So every slot tends to the mean, every row has the combine weights w of v, and F(a) = sum of w_j f_j(a v).
    With phi = 0 a plain router gives equal outputs.
    """
    return np.array([tokens - (tokens - 1) * share, *[share] * (tokens - 1)])


@dataclass(frozen=True)
class Direction:
    """v_D of norm 1 with the scores phi_j . v of the columns.

    top: the largest score, positive. lead: top less the next score, among columns that differ; infinite when all
    columns are equal.
    """

    v_D: Array
    top: float
    lead: float


def best_direction(phi_DS: Array, low: float, high: float, seed: int = 0) -> Direction:
    """The candidate of largest min(low lead, (1 - high) top), the exponent per unit of scale at which a pair with these
    shares becomes the same to the layer; phi_DS has a column that is not zero.

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
