"""FromNothing: each token goes to the K experts that its router finds likeliest."""

from moebench.contract import Layer, LogUniform, Routing, Variant
from moevariants.parts import Experts, LinearRouter, balance_loss


class FromNothing(Variant):  # claims nothing unless it says so
    name = "from_nothing"
    causal, separable = True, True
    tune = {"experts": (8, 16, 32), "loss/balance": LogUniform(1e-3, 1e-1, default=1e-2)}

    def build(self, shape, size, *, experts=8, top_k=2):  # the harness finds the size that meets the budget
        return FromNothingLayer(shape, size, experts, top_k)


class FromNothingLayer(Layer):
    def __init__(self, shape, size, experts, top_k):
        super().__init__()
        self.router, self.top_k = LinearRouter(shape.dim, experts), min(top_k, experts)
        self.experts = Experts(experts, shape, size)

    def route(self, x_BTD, context):  # decides, without expert work
        chance_BTE = self.router(x_BTD).softmax(-1)
        weight_BTK, chosen_BTK = chance_BTE.topk(self.top_k)
        losses = {"balance": balance_loss(chance_BTE, chosen_BTK, context.token_mask_BT)}
        kept_BTK = context.kept(chosen_BTK)  # not where there is padding
        return Routing.sparse(chosen_BTK, weight_BTK, experts=self.num_experts, kept_BTK=kept_BTK, losses=losses)

    def compute(self, x_BTD, routing, keep_BE=None):  # sends tokens to kept experts and adds up what comes back
        return self.experts(x_BTD, routing, keep_BE)
