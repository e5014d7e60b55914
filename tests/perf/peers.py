"""What layers are timed against: public packages, each as its documentation has it, at the same sizes.

Each function gives a module that maps x_BTD to y_BTD, with the router's weight_DE where it has one of that form.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from sizes import Size
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import LayerShape
from moevariants.dense import Dense


def layer_shape(size: Size) -> LayerShape:
    """Where the layer stands."""
    return LayerShape(dim=size.dim, out_dim=size.dim, tokens=size.tokens)


def linear(size: Size, hidden: int) -> nn.Module:
    """Two ``nn.Linear`` and a GELU: torch as everybody uses it."""
    return nn.Sequential(nn.Linear(size.dim, hidden), nn.GELU(), nn.Linear(hidden, size.dim))


def dense(size: Size, hidden: int) -> nn.Module:
    """moebench's own dense layer."""
    return Dense().layer(layer_shape(size), hidden, {})


def active(size: Size) -> int:
    """The width of a dense layer with the parameters that act on one token."""
    return size.per_token * size.hidden


def total(size: Size) -> int:
    """The width of a dense layer with as many parameters in all."""
    return size.experts * size.hidden


def gated_width(size: Size) -> int:
    """Of experts with three matrices, so that they have as many parameters."""
    return round(size.hidden * 2 / 3)


def mixtral(size: Size, weight_DE: Tensor, *, experts: str) -> nn.Module:
    """transformers' block, whose experts have three matrices."""
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = MixtralConfig(
        hidden_size=size.dim,
        intermediate_size=gated_width(size),
        num_local_experts=size.experts,
        num_experts_per_tok=size.per_token,
    )
    config._experts_implementation = experts
    block = MixtralSparseMoeBlock(config)
    with torch.no_grad():
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.02)
        block.gate.weight.copy_(weight_DE.t())
    return block


def liger(size: Size, weight_DE: Tensor) -> nn.Module:
    """transformers' block with the kernel of liger-kernel for its experts, in the type of the tokens; for CUDA."""
    from liger_kernel.ops import LigerFusedMoEFunction

    block = mixtral(size, weight_DE, experts="eager")
    experts = block.experts

    def forward(x_ND: Tensor, chosen_NK: Tensor, weight_NK: Tensor) -> Tensor:
        stacks = (stack.to(x_ND.dtype) for stack in (experts.gate_up_proj, experts.down_proj))
        y_ND: Tensor = LigerFusedMoEFunction.apply(x_ND, *stacks, chosen_NK.int(), weight_NK)
        return y_ND

    experts.forward = forward
    return block


def tutel(size: Size, weight_DE: Tensor) -> nn.Module:
    """Tutel's layer without a capacity: 0 stands for as many places as the busiest expert needs."""
    from tutel import moe

    layer = moe.moe_layer(  # it takes settings out of the dicts that it is given
        gate_type=copy.deepcopy({"type": "top", "k": size.per_token, "capacity_factor": 0.0, "fp32_gate": True}),
        model_dim=size.dim,
        experts={
            "type": "ffn",
            "num_experts_per_device": size.experts,
            "hidden_size_per_expert": size.hidden,
            "activation_fn": F.gelu,
        },
    )
    with torch.no_grad():
        layer.gates[0].wg.weight.copy_(weight_DE.t())
    return layer


def st_moe(size: Size, weight_DE: Tensor) -> nn.Module:
    """st-moe-pytorch with its own capacity. Its experts are gated, and it takes two thirds of the width by itself."""
    from st_moe_pytorch import MoE

    layer = MoE(
        dim=size.dim, num_experts=size.experts, gating_top_n=size.per_token, expert_hidden_mult=size.hidden / size.dim
    )
    with torch.no_grad():
        layer.gate.to_gates.weight.copy_(weight_DE.t())
    return _First(layer)


def mixture_of_experts(size: Size, weight_DE: Tensor) -> nn.Module:
    """mixture-of-experts, which has two experts a token and a capacity."""
    from mixture_of_experts import MoE

    layer = MoE(dim=size.dim, num_experts=size.experts, hidden_dim=size.hidden)
    with torch.no_grad():
        layer.gate.w_gating.copy_(weight_DE)
    return _First(layer)


def soft_moe_pytorch(size: Size, weight_DE: Tensor) -> nn.Module:
    """soft-moe-pytorch with one slot an expert."""
    from soft_moe_pytorch import SoftMoE

    return SoftMoE(dim=size.dim, num_experts=size.experts, num_slots=1, expert_mult=size.hidden / size.dim)


def peer_pytorch(dim: int, experts: int) -> nn.Module:
    """PEER-pytorch with competing scores, four heads of eight experts; its default is another layer."""
    from PEER_pytorch import PEER

    return PEER(dim, heads=4, num_experts=experts, num_experts_per_head=8, dim_key=dim // 2, non_competing_scores=False)


class _First(nn.Module):
    """Of what a layer gives, the outputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_BTD: Tensor) -> Tensor:
        y_BTD: Tensor = self.layer(x_BTD)[0]
        return y_BTD


Peer = Callable[[Size, Tensor], nn.Module]

SPARSE: dict[str, tuple[str, Peer]] = {
    "dense, same active": ("torch", lambda size, _: linear(size, active(size))),
    "dense, same active, by oneDNN": ("torch", lambda size, _: dense(size, active(size))),
    "dense, same total": ("torch", lambda size, _: linear(size, total(size))),
    "Tutel": ("tutel", tutel),
    "Mixtral block": ("transformers", partial(mixtral, experts="eager")),
    "Mixtral block, grouped": ("transformers", partial(mixtral, experts="grouped_mm")),
    "Mixtral block, Liger": ("liger_kernel", liger),
    "st-moe-pytorch": ("st_moe_pytorch", st_moe),
    "mixture-of-experts": ("mixture_of_experts", mixture_of_experts),
}
"""Name -> the package it needs, and how it is made."""


def why_absent(package: str, name: str, size: Size) -> str | None:
    """Why a peer cannot take part, or None."""
    if find_spec(package) is None:
        return f"{package} is not installed"
    if package == "liger_kernel" and not torch.cuda.is_available():
        return "its kernels are for CUDA"
    if name == "Mixtral block, grouped" and gated_width(size) % 4:
        return f"torch's grouped product wants rows of 16 bytes, and an expert has {gated_width(size)} units"
    if name == "mixture-of-experts" and size.per_token != 2:
        return "it knows K = 2 alone"
    if name == "dense, same total" and size.inputs * size.tokens * total(size) > 1 << 27:
        return "it would take minutes"
    if package == "tutel":
        from moevariants.backends.tutel import SWITCHES

        switches = [switch for switch in SWITCHES if switch in os.environ]
        return f"{switches[0]} is set, which changes what Tutel computes" if switches else None
    return None
