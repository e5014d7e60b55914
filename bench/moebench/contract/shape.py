"""What the host decides about a layer, the same for every variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """The slot a layer has to fill: ``(B, T, dim) -> (B, T, out_dim)``.

    ``activation`` and ``bias`` belong to the host, so that no variant wins by choosing them.
    ``tokens`` is T where the host fixes it, else None. ``index`` counts the replaced layers from 0 to ``depth``-1.
    ``kind`` is what flows through: a set of tokens, or one feature map per input.
    """

    dim: int
    out_dim: int
    tokens: int | None
    activation: str = "gelu"
    bias: bool = True
    kind: Literal["tokens", "map"] = "tokens"
    causal: bool = False
    index: int = 0
    depth: int = 1

    def activate(self, x: Tensor) -> Tensor:
        """Apply the host's activation, elementwise."""
        return ACTIVATIONS[self.activation](x)
