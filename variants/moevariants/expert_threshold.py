"""Expert threshold routing: expert choice for decoders, by thresholds of experts instead of a ranking of tokens."""

from __future__ import annotations

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import number, whole, wrong
from moevariants.parts.varying import ThresholdGate, VaryingLayer


class ExpertThreshold(Variant):
    """Expert threshold routing (Sun et al., arXiv 2603.11535), causal in training and evaluation alike.

    logits_BTE = x_BTD W_DE; a token goes to e where its logit exceeds threshold_e, and y_BTO = f_shared(x) + sum over
    these of sigmoid(logit) f_e(x). threshold_e follows the logit that N K / E of the N tokens of a step reach (see
    :class:`~moevariants.parts.varying.ThresholdGate`), so that loads are even without a loss, and K experts act on a
    token on average. A token may have none beside the shared one, or all.

    The paper ranks tokens, as expert choice does, in its first steps, until the running means have settled, which looks
    ahead; here the thresholds start at 0, and are those of the first step after it.

    Settings: ``experts``, the routed E; ``top_k`` K, the mean; ``shared`` experts that always act, 1 in the paper, or
    0; ``decay`` of the running mean (0.9 for hundreds of steps; more where there are more). Size is the hidden width
    of one expert. Mass: less than K T on average.
    """

    name = "expert_threshold"
    revision = "expert_threshold_1"
    paper = "https://arxiv.org/abs/2603.11535"
    causal = True
    separable = True
    token_equivariant = True
    tune = {"experts": (16, 32, 64, 8), "top_k": (3,)}

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 16,
        top_k: int = 3,
        shared: int = 1,
        decay: float = 0.9,
    ) -> VaryingLayer:
        """One layer of E routed experts, and of shared ones, of hidden width ``size``."""
        whole(self, "experts", experts)
        whole(self, "top_k", top_k, experts, " (the number of routed experts)")
        if shared != 0 or isinstance(shared, bool):
            whole(self, "shared", shared)
        if number(self, "decay", decay) >= 1:
            raise wrong(self, "decay", decay, "below 1")
        router, gate = LinearRouter(shape.dim, experts), ThresholdGate(experts, top_k, float(decay))
        routed = Experts(experts, shape, size)
        # S experts that all act are one of S times the width.
        always = Experts(1, shape, shared * size) if shared else None
        return VaryingLayer(router, gate, routed, always)
