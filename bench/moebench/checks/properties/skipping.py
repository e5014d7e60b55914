"""A masked expert costs nothing: its work is skipped, not multiplied by zero and not thrown away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moebench.checks.compare import difference_at, listed, same
from moebench.checks.masking import experts_held, experts_to_mask, keep, masked
from moebench.checks.subject import Built, Subject
from moebench.contract import Context, Layer
from moebench.plugins.backends import choose_backend


def check_mask_really_skips(subject: Subject) -> None:
    """Masked experts are not computed: NaN in their parameters stays there, and their FLOPs are saved."""
    for built in subject.trials():
        experts = experts_to_mask(subject, built.layer, separable=True)
        _expect_no_nan(subject, built, experts)
        _expect_less_work(subject, built, experts)


def _expect_no_nan(subject: Subject, built: Built, experts: int) -> None:
    layer, x_BTD = built.layer, subject.inputs()
    poisoned = [e for e in range(experts) if e % 4 in (1, 3)]
    keep_BE = keep(len(x_BTD), experts, list(range(experts)))
    # Input 0 keeps all, so that the poisoned experts do work, but not for the others.
    keep_BE[1:, poisoned] = False
    want = masked(layer, x_BTD, keep_BE)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name in layer.expert_parameters():
                held = experts_held(layer, name)
                own = [held.index(e) for e in poisoned if e in held]
                parameter.movedim(layer.expert_parameters()[name], 0)[own] = torch.nan
    got = masked(layer, x_BTD, keep_BE)
    got[0] = want[0]
    text = f"with the parameters of experts {listed(poisoned, 4)} filled with NaN, inputs that exclude them"
    remedy = "compute() must leave masked experts out, not scale them by 0."
    if not bool(torch.isfinite(got).all()):
        raise subject.failed(f"computes masked experts: {text} became NaN{built.words}. {remedy}")
    if not same(got, want):
        raise subject.failed(f"computes masked experts: {text} changed {difference_at(got, want)}{built.words}.")


def _expect_less_work(subject: Subject, built: Built, experts: int) -> None:
    """NaN that is replaced afterwards would pass unseen; the FLOPs of a pass without experts would not."""
    x_BTD, of_experts = subject.inputs(), dict(built.layer.expert_parameters())
    every, none = _flops(built.layer, x_BTD, list(range(experts))), _flops(built.layer, x_BTD, [])
    weights = sum(p.numel() for n, p in built.layer.named_parameters() if n in of_experts)
    # Fewer FLOPs than a row through each expert: the counter does not know the kernels; nothing follows.
    if every >= 2 * weights and every - none < 2 * weights // experts:
        raise subject.failed(
            f"computes masked experts: compute() takes {none:,} FLOPs with all {experts} masked and "
            f"{every:,} with none{built.words}. It must leave masked experts out, not drop their results."
        )


def _flops(layer: Layer, x_BTD: Tensor, kept: list[int]) -> int:
    """FLOPs of compute() on the loop backend, where the layer knows backends."""
    knows_backends = any(hasattr(module, "set_backend") for module in layer.modules())
    if knows_backends:
        choose_backend(layer, "loop")
    try:
        with torch.no_grad():
            routing = layer.route(x_BTD, Context())
            with FlopCounterMode(display=False) as counter:
                layer.compute(x_BTD, routing, keep(len(x_BTD), layer.num_experts, kept))
    finally:
        if knows_backends:
            choose_backend(layer, None)
    return int(counter.get_total_flops())
