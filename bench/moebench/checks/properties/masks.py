"""A mask means the same for all: what is masked adds nothing and costs nothing, and the rest is as it was."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.budgets.count import empty_experts, experts_held
from moebench.budgets.flops import flops_of
from moebench.checks.compare import difference_at, listed, same
from moebench.checks.masking import experts_to_mask, keep, masked
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.contract import Context, Layer


def check_keep_all_is_no_mask(subject: CheckSubject) -> None:
    """Keeping all experts is the same as no mask."""
    for built in subject.trials():
        x_BTD = subject.inputs()
        everyone = keep(len(x_BTD), experts_to_mask(subject, built.layer), all_but=[])
        got = masked(built.layer, x_BTD, everyone)
        built.expect_same(got, built.layer(x_BTD), "differs with every expert kept from no mask,")


def check_mask_is_obeyed(subject: CheckSubject) -> None:
    """Masking an expert changes the outputs of the inputs that give it mass, and of no others."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = experts_to_mask(subject, layer)
        mass_BE, want = layer.route(x_BTD, Context()).mass_BE, layer(x_BTD).detach()
        if mass_BE is None:
            raise NotApplicable("its routing gives no mass.")
        if bool(mass_BE.any()) and same(masked(layer, x_BTD, keep(len(x_BTD), experts, [])), want):
            raise built.failed("ignores the mask: with every expert masked its outputs are the same")
        empty = empty_experts(layer)  # a zero expert adds nothing
        for e in range(experts):
            got = masked(layer, x_BTD, keep(len(x_BTD), experts, all_but=[e]))
            for b, (mass, change) in enumerate(zip(mass_BE[:, e], (got - want).abs().amax((1, 2)), strict=True)):
                if mass > 0.01 and change == 0 and e not in empty:
                    raise built.failed(
                        f"ignores the mask: input {b} gives expert {e} the mass {mass:.3g}, but masking it changes "
                        "nothing"
                    )
                if mass == 0 and change > 1e-4:
                    raise built.failed(
                        f"changes input {b} by {change:.3g} when expert {e} is masked, to which it gives no mass"
                    )


def check_mask_is_per_input(subject: CheckSubject) -> None:
    """Each input follows its own row of the mask."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        keep_BE = keep(len(x_BTD), experts_to_mask(subject, layer))
        together = masked(layer, x_BTD, keep_BE)
        for b in range(len(x_BTD)):
            alone = masked(layer, x_BTD[b : b + 1], keep_BE[b : b + 1])
            built.expect_same(
                together[b : b + 1],
                alone,
                f"mixes up the masks of a batch: input {b} differs from itself alone under the same mask",
            )


def check_mask_adds_up(subject: CheckSubject) -> None:
    """Under any mask the output is that of no expert plus what each kept one contributes when alone."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = experts_to_mask(subject, layer, separable=True)
        base = masked(layer, x_BTD, keep(len(x_BTD), experts, []))
        alone = [masked(layer, x_BTD, keep(len(x_BTD), experts, [e])) - base for e in range(experts)]
        parts_EBTO = torch.stack(alone)
        some_BE = keep(len(x_BTD), experts)
        for kept_BE in (some_BE, ~some_BE, torch.ones_like(some_BE)):
            built.expect_same(
                masked(layer, x_BTD, kept_BE),
                base + (parts_EBTO * kept_BE.T[:, :, None, None]).sum(0),
                f"does not add up (a mask leaves the weights of the others unchanged): with {int(kept_BE[0].sum())} of "
                f"{experts} experts kept for input 0 its output differs from the sum of the experts taken one by one",
                1e-4,
            )


def check_mask_leaves_the_routing(subject: CheckSubject) -> None:
    """compute() under a mask does not change the routing, nor what a later call without a mask gives."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = experts_to_mask(subject, layer)
        with torch.no_grad():
            routing = layer.route(x_BTD, Context())
            want = layer.compute(x_BTD, routing)
            tensors = [t for t in (routing.mass_BE, routing.weight_BTK, routing.kept_BTK) if t is not None]
            before = [t.clone() for t in tensors]
            layer.compute(x_BTD, routing, keep(len(x_BTD), experts))
            later = layer.compute(x_BTD, routing)
        if not all(map(torch.equal, before, tensors)) or not same(later, want):
            raise built.failed(
                "changes the routing it is handed when compute() gets a mask: afterwards the unmasked output "
                f"differs {difference_at(later, want)}"
            )


def check_mask_really_skips(subject: CheckSubject) -> None:
    """Masked experts are not computed: NaN in their parameters stays there, and their FLOPs are saved."""
    for built in subject.trials():
        experts = experts_to_mask(subject, built.layer, separable=True)
        _expect_no_nan(built, subject.inputs(), experts)
        _expect_less_work(built, subject.inputs(), experts)


def _expect_no_nan(built: BuiltLayer, x_BTD: Tensor, experts: int) -> None:
    layer, poisoned = built.layer, [e for e in range(experts) if e % 2]
    keep_BE = keep(len(x_BTD), experts, all_but=poisoned)
    # Input 0 keeps all, so that the poisoned experts do work, but not for the others.
    keep_BE[0] = True
    want = masked(layer, x_BTD, keep_BE)
    with torch.no_grad():
        for name, axis in layer.expert_parameters().items():
            held = experts_held(layer, name)
            own = [held.index(e) for e in poisoned if e in held]
            layer.get_parameter(name).movedim(axis, 0)[own] = torch.nan
    got = masked(layer, x_BTD, keep_BE)
    got[0] = want[0]
    text = (
        f"computes masked experts: with the parameters of experts {listed(poisoned, 4)} filled with NaN, inputs that "
        "exclude them"
    )
    if not bool(torch.isfinite(got).all()):
        raise built.failed(f"{text} became NaN (compute() must leave masked experts out, not scale them by 0)")
    built.expect_same(got, want, f"{text} changed")


def _expect_less_work(built: BuiltLayer, x_BTD: Tensor, experts: int) -> None:
    """NaN that is replaced afterwards would pass unseen; the FLOPs of a pass without experts would not."""
    layer = built.layer
    every, none = (_flops(layer, x_BTD, keep(len(x_BTD), experts, kept)) for kept in (list(range(experts)), []))
    weights = sum(layer.get_parameter(name).numel() for name in layer.expert_parameters())
    # Fewer FLOPs than a row through each expert: the counter does not know the kernels; nothing follows.
    if every >= 2 * weights and every - none < 2 * weights // experts:
        raise built.failed(
            f"computes masked experts: compute() takes {none:,} FLOPs with all {experts} masked and {every:,} with "
            "none (it must leave masked experts out, not drop their results)"
        )


def _flops(layer: Layer, x_BTD: Tensor, keep_BE: Tensor) -> int:
    """FLOPs of compute()."""
    with torch.no_grad():
        routing = layer.route(x_BTD, Context())
        return flops_of(layer, lambda: layer.compute(x_BTD, routing, keep_BE))
