"""What the theorem needs to know of a layer: the matrix of its router, and whether that router normalises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from moebench.errors import UsageError

Array = npt.NDArray[np.float64]
Kind = Literal["plain", "l2"]


@dataclass(frozen=True)
class RouterWeights:
    """phi_DS, and ``scale``: None for logits x phi, else that of l2norm(x) . (scale l2norm(phi)).

    :class:`UsageError` for what is no finite matrix or number.
    """

    phi_DS: Array
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.phi_DS.ndim != 2 or not self.phi_DS.size or not np.isfinite(self.phi_DS).all():
            raise UsageError(f"phi_DS, of shape {self.phi_DS.shape}, must be a matrix (D, S) of finite numbers.")
        if self.scale is not None and not np.isfinite(self.scale):
            raise UsageError(f"the router's scale is {self.scale}; it must be a finite number, or None without one.")

    @property
    def kind(self) -> Kind:
        """Plain, or l2 where the router (and it alone) sees normalised tokens."""
        return "plain" if self.scale is None else "l2"


def router_weights(layer: Any) -> RouterWeights:
    """Those of any layer with ``router.phi_DS`` (D, S) and ``router.scale`` (None or one number)."""
    router: Any = getattr(layer, "router", None)
    phi_DS = getattr(router, "phi_DS", None)
    if not isinstance(phi_DS, Tensor) or not hasattr(router, "scale"):
        raise UsageError(
            f"{type(layer).__name__} has no router.phi_DS with router.scale; the theorem is about Soft MoE layers."
        )
    scale = router.scale
    return RouterWeights(phi_DS.detach().double().cpu().numpy(), None if scale is None else float(scale.detach()))
