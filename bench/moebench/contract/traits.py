"""What a variant claims about itself. ``moebench check`` holds it to every claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moebench.contract.shape import LayerShape


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Claims about a variant.

    causal: y_t depends on x_1 ... x_t only.
    hosts: the kinds of stream it takes part in, see ``LayerShape.kind``. The places of a map are tokens as well: who
        takes tokens takes maps.
    experts: ``separable`` (single-expert masks sum to the layer), ``fused`` (masks act, but skipping saves little
        and NaN in one expert may reach all) or ``none``.
    mass: ``exact`` (an input's masses sum to T), ``at_most`` (to T or less), ``free``, or ``none`` without experts.
    single_expert: with E = 1 the layer is the plain MLP (``dense``), is the MLP of the pooled token, one output for
        all tokens (``pooled``), or makes no promise (``none``, with ``single_expert_reason``).
    token_equivariant: permuting the tokens permutes the outputs.
    whole_input: an input is routed as a whole: all its tokens have the same experts, with the same weights.
    rules: combination rules beside "as is" that it can give, such as ``renormalise`` or ``mask_logits``.
    """

    causal: bool = False
    hosts: tuple[str, ...] = ("tokens",)
    experts: Literal["separable", "fused", "none"]
    mass: Literal["exact", "at_most", "free", "none"]
    single_expert: Literal["dense", "pooled", "none"]
    single_expert_reason: str = ""
    token_equivariant: bool = False
    whole_input: bool = False
    rules: tuple[str, ...] = ()

    def takes(self, shape: LayerShape) -> bool:
        """Whether a layer of this variant can fill the slot."""
        return shape.kind in self.hosts or "tokens" in self.hosts
