"""Blocks of transformers as rows: Mixtral, Qwen3, OLMoE, DeepSeek-V3, GPT-OSS and Llama 4, with their gates seen.

moebench check examples/wrapped_transformers.py:qwen3
"""

import torch
from torch import nn
from transformers import DeepseekV3Config, GptOssConfig, Llama4TextConfig, MixtralConfig, OlmoeConfig, Qwen3MoeConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssMLP
from transformers.models.llama4.modeling_llama4 import Llama4TextMoe
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
from transformers.models.olmoe.modeling_olmoe import OlmoeSparseMoeBlock
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

from moebench import wrap

EXPERTS = ("experts.gate_up_proj", "experts.down_proj")
BIASES = ("experts.gate_up_proj_bias", "experts.down_proj_bias")


def drawn(block: nn.Module) -> nn.Module:
    """All weights drawn: these blocks leave theirs at zero, or undrawn, until the whole model draws them."""
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=block_std(parameter))
    return block


def block_std(parameter: torch.Tensor) -> float:
    """One over the root of the inputs that a row has, up to the layout."""
    return min(parameter.shape[-2:]) ** -0.5 if parameter.ndim > 1 else 0.02


def balance(block: nn.Module, load_E: torch.Tensor) -> None:
    """DeepSeek's bias: up for experts that were chosen less than the mean, down for the others."""
    block.gate.e_score_correction_bias += 1e-3 * (load_E.float().mean() - load_E).sign()


mixtral = wrap(
    lambda dim, hidden: drawn(
        MixtralSparseMoeBlock(
            MixtralConfig(hidden_size=dim, intermediate_size=hidden, num_local_experts=8, num_experts_per_tok=2)
        )
    ),
    name="mixtral",
    experts=EXPERTS,
    top_k=2,
    gates="gate",
    causal=True,
)

qwen3 = wrap(
    lambda dim, hidden: drawn(
        Qwen3MoeSparseMoeBlock(
            Qwen3MoeConfig(hidden_size=dim, moe_intermediate_size=hidden, num_experts=16, num_experts_per_tok=4)
        )
    ),
    name="qwen3",
    experts=EXPERTS,
    top_k=4,
    gates="gate",
    causal=True,
)

olmoe = wrap(
    lambda dim, hidden: drawn(
        OlmoeSparseMoeBlock(
            OlmoeConfig(hidden_size=dim, intermediate_size=hidden, num_experts=16, num_experts_per_tok=4)
        )
    ),
    name="olmoe",
    experts=EXPERTS,
    top_k=4,
    gates="gate",
    causal=True,
)

DEEPSEEK = {"n_routed_experts": 16, "num_experts_per_tok": 4, "n_group": 1, "topk_group": 1, "n_shared_experts": 1}
deepseek_v3 = wrap(
    lambda dim, hidden: drawn(
        DeepseekV3MoE(DeepseekV3Config(hidden_size=dim, moe_intermediate_size=hidden, **DEEPSEEK))
    ),
    name="deepseek_v3",
    experts=EXPERTS,
    top_k=4,
    gates="gate",
    after_step=balance,
    causal=True,
)

gpt_oss = wrap(
    lambda dim, hidden: drawn(
        GptOssMLP(GptOssConfig(hidden_size=dim, intermediate_size=hidden, num_local_experts=8, num_experts_per_tok=2))
    ),
    name="gpt_oss",
    experts=(*EXPERTS, *BIASES),
    top_k=2,
    gates="router",
    causal=True,
)

LLAMA4 = {"num_local_experts": 8, "num_experts_per_tok": 1}
llama4 = wrap(  # its block passes every token through every expert, zeros where it was not chosen
    lambda dim, hidden: drawn(Llama4TextMoe(Llama4TextConfig(hidden_size=dim, intermediate_size=hidden, **LLAMA4))),
    name="llama4",
    experts=EXPERTS,
    top_k=1,
    gates="router",
    passes=8,
    causal=True,
)
