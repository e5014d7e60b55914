"""Linear layers whose weights, biases included, are a factorised tensor W of all experts: y = sum_e a_e W_e [x, 1].

Only factors are stored, and only products with factors computed. Letters beside the usual ones: I inputs, J outputs,
R rank, r s t the ranks of a ring.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moevariants.parts import onednn

RING = 4
"""r and s, the ranks of a ring beside the one that grows."""


class CPLinear(nn.Module):
    """W[e, i, j] = sum_R expert_ER x_in[i, R] x out_RJ: y = ((a expert) * ([x, 1] in)) out.

    The last row of in, (I + 1, R), meets the 1; without ``bias`` it is not there. Starts as in arXiv 2402.12550:
    N(1, 1) for the experts, uniform within 1/sqrt(I) and 1/sqrt(R) for in and out.
    """

    def __init__(self, num_experts: int, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__()
        self.bias = bias
        self.expert = nn.Parameter(torch.empty(num_experts, rank))
        self.w_in = nn.Parameter(torch.empty(inputs + bias, rank))
        self.w_out = nn.Parameter(torch.empty(rank, outputs))
        nn.init.normal_(self.expert, 1.0, 1.0)
        nn.init.uniform_(self.w_in, -(inputs**-0.5), inputs**-0.5)
        nn.init.uniform_(self.w_out, -(rank**-0.5), rank**-0.5)

    def forward(self, x_BTI: Tensor, a_BTE: Tensor) -> Tensor:
        """y_BTJ."""
        hidden_BTR = (a_BTE @ self.expert) * _affine(x_BTI, self.w_in, bias=self.bias)
        return onednn.matmul(hidden_BTR, self.w_out)


class TRLinear(nn.Module):
    """W[e, i, j] = trace(expert_e(r, s) in_i(s, t) out_j(t, r)): a tensor ring with r = s = 4 and ``rank`` t.

    y_j = trace(A X out_j), A = sum_e a_e expert_e, X = sum_i [x, 1]_i in_i. Starts as in arXiv 2402.12550: diagonals of
    N(1, 1) for the experts, uniform within 1/sqrt(I) and 1/sqrt(r t) for in and out.
    """

    def __init__(self, num_experts: int, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__()
        self.bias, self.rank = bias, rank
        self.expert = nn.Parameter(torch.diag_embed(1 + torch.randn(num_experts, RING)))
        self.w_in = nn.Parameter(torch.empty(inputs + bias, RING * rank))
        self.w_out = nn.Parameter(torch.empty(RING * rank, outputs))
        nn.init.uniform_(self.w_in, -(inputs**-0.5), inputs**-0.5)
        nn.init.uniform_(self.w_out, -((RING * rank) ** -0.5), (RING * rank) ** -0.5)

    def forward(self, x_BTI: Tensor, a_BTE: Tensor) -> Tensor:
        """y_BTJ."""
        tokens = x_BTI.shape[:-1]
        a_BTrs = (a_BTE @ self.expert.flatten(1)).view(*tokens, RING, RING)
        x_BTst = _affine(x_BTI, self.w_in, bias=self.bias).view(*tokens, RING, self.rank)
        return onednn.matmul((a_BTrs @ x_BTst).flatten(-2), self.w_out)


def _affine(x_BTI: Tensor, weight: Tensor, *, bias: bool) -> Tensor:
    return onednn.matmul(x_BTI, weight[:-1], weight[-1]) if bias else onednn.matmul(x_BTI, weight)
