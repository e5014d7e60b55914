"""MoE++: beside MLP experts such as cost nothing: one that returns 0, one that returns x, and constants."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape, LogUniform, Routing, Variant
from moevariants.parts.experts import Experts, choices
from moevariants.parts.gates import Gate, Gated, SoftmaxGate
from moevariants.parts.losses import balance_loss
from moevariants.parts.routers import LinearRouter, softmax_over_experts
from moevariants.parts.settings import number, whole, wrong
from moevariants.parts.sparse import Places, SparseLayer


class MoEPP(Variant):
    """MoE++ (Jin et al., arXiv 2410.07348): E = F MLPs, C constants and a copy, and beside them a choice of nothing.

    p_BTR = softmax of x_BTD W_DR over R = E + 1; the K largest, divided by their sum if K > 1; y_BTO = sum over these
    of weight f_r(x), where f of the copy is x, of a constant a_1 x + a_2 v with (a_1, a_2) = softmax(x W_D2) and v
    learned, and of the last, the zero expert, 0: who chooses it has one expert less. ``loss/balance``: 1 for loads of
    MLPs that are ``tau`` times those of all others. This is the paper's layer without the residual of logits from layer
    to layer.

    Settings: ``experts`` F; ``constants`` C; ``top_k`` K; ``tau``; ``loss/balance``. Size is the hidden width of one
    MLP. Mass: T less what the zero expert has. Active parameters and FLOPs are quoted as if all K were MLPs, the most
    that it can cost, and constants as parts that always act. It needs outputs as wide as its inputs.
    """

    name = "moe_pp"
    revision = "moe_pp_1"
    paper = "https://arxiv.org/abs/2410.07348"
    code = "https://github.com/SkyworkAI/MoE-plus-plus"
    causal = True
    separable = True
    mass = "at_most"
    token_equivariant = True
    tune = {
        "experts": (8, 16, 32, 64),
        "top_k": (2,),
        "constants": (2,),
        "tau": (0.75,),
        "loss/balance": LogUniform(1e-3, 1e-1, default=1e-2),
    }

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 8,
        top_k: int = 2,
        constants: int = 2,
        tau: float = 0.75,
        losses: tuple[str, ...] = ("balance",),
    ) -> SparseLayer:
        """One layer of F MLPs of hidden width ``size``, and those that cost nothing."""
        whole(self, "experts", experts)
        whole(self, "constants", constants)
        whole(self, "top_k", top_k, experts, " (the number of MLPs)")
        if not 0 < number(self, "tau", tau) <= 1:
            raise wrong(self, "tau", tau, "above 0 and at most 1")
        if shape.dim != shape.out_dim:
            raise ValueError(f"{self.name}: a copy keeps its width, the host asks {shape.dim}->{shape.out_dim}")
        router = LinearRouter(shape.dim, experts + constants + 2)
        gate = ZeroGate(top_k, experts, float(tau), balance="balance" in losses)
        return MoEPPLayer(router, gate, Experts(experts, shape, size), constants)


class ZeroGate(Gate):
    """A softmax gate whose last expert stands for none: choices of it do not count."""

    def __init__(self, top_k: int, mlps: int, tau: float, *, balance: bool) -> None:
        super().__init__()
        self.top_k, self.mlps, self.tau, self.balance = top_k, mlps, tau, balance
        self.plain = SoftmaxGate(top_k, renormalise=top_k > 1)

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """The choices, and in training the loss, in which MLPs count 1 and the others tau."""
        gated = self._without_zero(self.plain(logits_BTE), logits_BTE.shape[-1] - 1)
        if not (self.training and self.balance):
            return gated
        probability_BTR = softmax_over_experts(logits_BTE)
        price_R = torch.full_like(probability_BTR[0, 0], self.tau)
        price_R[: self.mlps] = 1
        # As the router has it, with the zero expert.
        chosen_BTK = self.plain(logits_BTE).chosen_BTK
        return gated._replace(losses={"balance": balance_loss(probability_BTR, chosen_BTK, token_mask_BT, price_R)})

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The kept experts of largest probability; who would have none of them has none."""
        none = logits_BTE.shape[-1] - 1
        keep_BR = torch.cat([keep_BE, keep_BE.new_ones(len(keep_BE), 1)], 1)
        return self._without_zero(self.plain.among(logits_BTE, keep_BR), none)

    def _without_zero(self, gated: Gated, none: int) -> Gated:
        wanted_BTK = gated.chosen_BTK < none
        return gated._replace(chosen_BTK=gated.chosen_BTK.clamp(max=none - 1), wanted_BTK=wanted_BTK)


class MoEPPLayer(SparseLayer):
    """Experts in the order: MLPs, constants, the copy."""

    def __init__(self, router: nn.Module, gate: ZeroGate, experts: Experts, constants: int) -> None:
        super().__init__(router, gate, experts, Places())
        dim, self.mlps = experts.shape.dim, experts.count
        self.num_experts = experts.count + constants + 1
        self.constant_CD = nn.Parameter(torch.randn(constants, dim))
        self.mix_CD2 = nn.Parameter(torch.empty(constants, dim, 2).uniform_(-(dim**-0.5), dim**-0.5))

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """The MLPs' work, and what the others give to the tokens that chose them."""
        mlps, combine_BTE = self.mlps, routing.combine_BTE
        chosen_BTK, _, kept_BTK = choices(routing)
        of_mlp_BTK = chosen_BTK < mlps if kept_BTK is None else kept_BTK & (chosen_BTK < mlps)
        of_mlps = replace(routing, chosen_BTK=chosen_BTK.clamp(max=mlps - 1), kept_BTK=of_mlp_BTK)
        y_BTD: Tensor = self.experts(x_BTD, of_mlps, None if keep_BE is None else keep_BE[:, :mlps])
        assert combine_BTE is not None
        weight_BTE = combine_BTE.to(y_BTD.dtype)
        if keep_BE is not None:
            weight_BTE = weight_BTE * keep_BE.unsqueeze(1)
        y_BTD = y_BTD + weight_BTE[..., -1:] * x_BTD
        for expert, (constant_D, mix_D2) in enumerate(zip(self.constant_CD, self.mix_CD2, strict=True), mlps):
            weight_BT1 = weight_BTE[..., expert : expert + 1]
            mix_BT2 = (x_BTD @ mix_D2).softmax(-1).to(y_BTD.dtype)
            given_BTD = mix_BT2[..., :1] * x_BTD + mix_BT2[..., 1:] * constant_D
            # Where it is not chosen, or is masked, nothing of it is added, not zero times it.
            y_BTD = torch.where(weight_BT1 > 0, y_BTD + weight_BT1 * given_BTD, y_BTD)
        return y_BTD

    def router_logits(self, x_BTD: Tensor) -> Tensor:
        """logits_BTE, without that of the zero expert."""
        logits_BTR: Tensor = self.router(x_BTD)
        return logits_BTR[..., :-1]
