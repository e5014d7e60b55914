"""Mixtral's block as transformers has it, with its gates seen: its routing is measured as any layer's.

moebench check examples/wrapped_mixtral.py:mixtral
"""

from torch import nn
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from moebench import wrap

EXPERTS, TOP_K = 8, 2


def block(dim: int, hidden: int) -> nn.Module:
    """Eight experts of hidden width ``hidden``, drawn as ``nn.Linear`` draws: transformers leaves them undrawn."""
    config = MixtralConfig(
        hidden_size=dim, intermediate_size=hidden, num_local_experts=EXPERTS, num_experts_per_tok=TOP_K
    )
    module = MixtralSparseMoeBlock(config)
    for parameter in module.parameters():
        bound = parameter.shape[-1] ** -0.5
        nn.init.uniform_(parameter, -bound, bound)
    return module


mixtral = wrap(
    block,
    name="mixtral",
    experts=("experts.gate_up_proj", "experts.down_proj"),
    top_k=TOP_K,
    gates="gate",
    causal=True,
)
