"""Layers that compute what they do not claim."""

from __future__ import annotations

import torch
from cases import caught_by
from good import Good, GoodLayer
from torch.nn import functional as F


@caught_by("output_shape", "(1, 7, 16)", "turns", "(7, 16)")
class DropsABatchOfOne(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep).squeeze(0)


@caught_by("output_shape", "the slot asks for", "24")
class KeepsItsWidthSilently(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep)[..., : self.shape.dim]


@caught_by("dtype_and_device", "torch.float64 into torch.float32")
class CastsToFloat(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep).float()


@caught_by("non_contiguous_input", "fails for a transposed input: RuntimeError")
class ViewsItsInput(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x.view(-1).view_as(x), routing, keep)


@caught_by("input_is_left_alone", "writes into its input")
class WritesIntoItsInput(GoodLayer):
    def compute(self, x, routing, keep=None):
        with torch.no_grad():
            x.mul_(0.5)
        return super().compute(x, routing, keep)


@caught_by("forward_is_route_and_compute", "compute(x, route(x))")
class ForwardOfItsOwn(GoodLayer):
    def forward(self, x):
        return super().forward(x) + x


@caught_by("inputs_do_not_leak", "leaks between inputs", "when input 1 of its batch changes")
class LeaksTheBatchMean(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x + 0.01 * x.mean(0), routing, keep)


@caught_by("padding_has_no_say", "lets padding change the outputs")
class PoolsPadding(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x + x.mean(1, keepdim=True), routing, keep)


@caught_by("padding_has_no_say", "in its masses")
class PaddingHasMass(GoodLayer):
    def kept(self, real, chosen):
        return torch.ones_like(chosen, dtype=torch.bool)


@caught_by("padding_has_no_say", "in its loss 'balance'")
class PaddingIsBalanced(GoodLayer):
    def losses(self, logits, chosen, real):
        return super().losses(logits, chosen, torch.ones_like(real))


@caught_by("calls_share_no_state", "keeps its routing", "in between")
class RemembersItsRouting(GoodLayer):
    def route(self, x, context):
        self.last = super().route(x, context)
        return self.last

    def compute(self, x, routing, keep=None):
        return super().compute(x, self.last, keep)


@caught_by("inference_mode_leaves_nothing", "after a pass in inference mode", "Inference tensors")
class CachesATensor(GoodLayer):
    def compute(self, x, routing, keep=None):
        if not hasattr(self, "scale"):
            self.scale = torch.ones(()) * 2
        return super().compute(x, routing, keep) * self.scale


@caught_by("token_equivariance", "claims to be token-equivariant", "permuted")
class KnowsPositions(GoodLayer):
    def compute(self, x, routing, keep=None):
        place = torch.arange(x.shape[1], dtype=x.dtype)[:, None]
        return super().compute(x + 0.1 * place, routing, keep)


@caught_by("causality", "claims to be causal", "changes earlier outputs", "in eval mode")
class LooksAhead(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x + 0.1 * x.flip(1).cumsum(1).flip(1), routing, keep)


@caught_by("causality", "claims to be causal", "in training mode")
class LooksAheadInTraining(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x + x.mean(1, keepdim=True) * self.training, routing, keep)


@caught_by("bf16_autocast", "is off by", "a tenth of the tokens under bfloat16 autocast")
class CancelsInBf16(GoodLayer):
    def expert(self, e, rows):
        return (((rows @ self.w_in[e]) + 100) - 100) @ self.w_out[e]


@caught_by("eval_draws_nothing", "draws random numbers in eval mode")
class DropoutInEval(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(F.dropout(x, 0.1, training=True), routing, keep)


@caught_by("same_seed_same_results", "other weights for", "gate", "under one seed")
class UnseededWeights(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        generator = torch.Generator(self.gate.device if self.gate.is_cpu else "cpu")
        generator.seed()
        if self.gate.is_cpu:
            torch.nn.init.normal_(self.gate, generator=generator)


@caught_by("another_seed_other_weights", "seeds 5 and 6", "leave seeding alone")
class ForksTheGenerator(Good):
    def build(self, shape, size, **settings):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(42)
            return super().build(shape, size, **settings)
