"""A module as people have it, and the lines that make it a row: first as it is, then with its experts seen.

moebench check examples/my_moe.py:my_moe
"""

import torch
from torch import nn


class MyMoE(nn.Module):
    """Eight experts, two a token."""

    def __init__(self, d_model, d_ff, num_experts=8, top_k=2):
        super().__init__()
        self.top_k = top_k
        self.gate = nn.Linear(d_model, num_experts, bias=False)
        self.w_in = nn.Parameter(torch.randn(num_experts, d_model, d_ff) * d_model**-0.5)
        self.w_out = nn.Parameter(torch.randn(num_experts, d_ff, d_model) * d_ff**-0.5)

    def forward(self, x):
        weight, chosen = self.gate(x).softmax(-1).topk(self.top_k)
        weight = weight / weight.sum(-1, keepdim=True)
        y = torch.zeros_like(x)
        for expert in range(len(self.w_in)):
            share = torch.where(chosen == expert, weight, 0).sum(-1)
            mine = share > 0
            y[mine] += share[mine, None] * ((x[mine] @ self.w_in[expert]).relu() @ self.w_out[expert])
        return y


from moebench import wrap  # noqa: E402

my_moe = wrap(lambda dim, hidden: MyMoE(d_model=dim, d_ff=hidden), name="my_moe")

my_moe_seen = wrap(
    lambda dim, hidden: MyMoE(d_model=dim, d_ff=hidden),
    name="my_moe_seen",
    experts=("w_in", "w_out"),
    gates="gate",
    top_k=2,
    causal=True,
)
