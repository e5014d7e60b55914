"""What the theorem needs of a layer: the matrix of its router, and whether that router normalises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from moebench.errors import UsageError

Array = npt.NDArray[np.float64]


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
