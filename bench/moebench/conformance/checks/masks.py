"""A mask means the same for all layers: what is masked adds nothing and is not computed, the rest is as it was."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moebench.conformance.compare import listed, same, where_apart
from moebench.conformance.outcome import NotApplicable
from moebench.conformance.subject import Built, Subject
from moebench.contract import Layer
from moebench.plugins.backends import choose_backend


def _experts(subject: Subject, layer: Layer, *, separable: bool = False) -> int:
    """The number of experts; not applicable where there is nothing to mask or its meaning is not claimed."""
    traits = subject.variant.traits
    if traits.experts == "none" or layer.num_experts < 2:
        raise NotApplicable("it has no experts to mask.")
    if separable and traits.experts != "separable":
        raise NotApplicable(f"its experts are {traits.experts}, not separable.")
    return layer.num_experts


def _keep(inputs: int, experts: int, kept: list[int] | None = None) -> Tensor:
    """keep_BE with only ``kept`` True for every input; a random half for each input where None."""
    if kept is None:
        return torch.rand(inputs, experts, generator=torch.Generator().manual_seed(1)) < 0.5
    keep_BE = torch.zeros(inputs, experts, dtype=torch.bool)
    keep_BE[:, kept] = True
    return keep_BE


@torch.no_grad()
def _masked(layer: Layer, x_BTD: Tensor, keep_BE: Tensor | None) -> Tensor:
    return layer.compute(x_BTD, layer.route(x_BTD), keep_BE)


def check_keep_all_is_no_mask(subject: Subject) -> None:
    """Keeping all experts is the same as no mask."""
    for built in subject.trials():
        x_BTD = subject.inputs()
        everyone = list(range(_experts(subject, built.layer)))
        got, want = _masked(built.layer, x_BTD, _keep(len(x_BTD), len(everyone), everyone)), built.layer(x_BTD)
        if not same(got, want):
            raise subject.failed(f"differs with every expert kept from no mask, {where_apart(got, want)}{built.words}.")


def check_mask_is_obeyed(subject: Subject) -> None:
    """Masking an expert changes the outputs of the inputs that give it mass, and of no others."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = _experts(subject, layer)
        mass_BE, want = layer.route(x_BTD).mass_BE, layer(x_BTD)
        if mass_BE is None:
            raise NotApplicable("its routing tells no mass.")
        if bool(mass_BE.any()) and same(_masked(layer, x_BTD, _keep(len(x_BTD), experts, [])), want):
            raise subject.failed(f"ignores the mask: with every expert masked its outputs are the same{built.words}.")
        for e in range(experts):
            keep_BE = _keep(len(x_BTD), experts, [i for i in range(experts) if i != e])
            _expect_who(subject, built, e, mass_BE[:, e], (_masked(layer, x_BTD, keep_BE) - want).abs().amax((1, 2)))


def _expect_who(subject: Subject, built: Built, expert: int, mass_B: Tensor, change_B: Tensor) -> None:
    silent = (mass_B > 0.01) & (change_B == 0)
    ghost = (mass_B == 0) & (change_B > 1e-4)
    if bool(silent.any()):
        b = int(silent.nonzero()[0])
        raise subject.failed(
            f"ignores the mask: input {b} gives expert {expert} the mass {float(mass_B[b]):.3g}, but masking it "
            f"changes nothing{built.words}."
        )
    if bool(ghost.any()):
        b = int(ghost.nonzero()[0])
        raise subject.failed(
            f"changes input {b} by {float(change_B[b]):.3g} when expert {expert} is masked, to which it gives no mass"
            f"{built.words}."
        )


def check_mask_of_one_input_spares_the_others(subject: Subject) -> None:
    """Each input follows its own row of the mask."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        keep_BE = _keep(len(x_BTD), _experts(subject, layer))
        together = _masked(layer, x_BTD, keep_BE)
        for b in range(len(x_BTD)):
            alone = _masked(layer, x_BTD[b : b + 1], keep_BE[b : b + 1])
            if not same(together[b : b + 1], alone):
                raise subject.failed(
                    f"mixes up the masks of a batch: input {b} differs from itself alone under the same mask "
                    f"{where_apart(together[b : b + 1], alone)}{built.words}."
                )


def check_mask_really_skips(subject: Subject) -> None:
    """Masked experts are not computed: NaN in their parameters stays there, and their FLOPs are saved."""
    for built in subject.trials():
        experts = _experts(subject, built.layer, separable=True)
        _expect_less_work(subject, built, experts)
        _expect_no_nan(subject, built, experts)


def _expect_no_nan(subject: Subject, built: Built, experts: int) -> None:
    layer, x_BTD = built.layer, subject.inputs()
    poisoned = [e for e in range(experts) if e % 4 in (1, 3)]
    keep_BE = _keep(len(x_BTD), experts, list(range(experts)))
    # Input 0 keeps all, so that the poisoned experts do work, but not for the others.
    keep_BE[1:, poisoned] = False
    want = _masked(layer, x_BTD, keep_BE)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name in layer.expert_parameters():
                parameter.movedim(layer.expert_parameters()[name], 0)[poisoned] = torch.nan
    got = _masked(layer, x_BTD, keep_BE)
    text = f"with the parameters of experts {listed(poisoned, 4)} filled with NaN, inputs that exclude them"
    remedy = "compute() must leave masked experts out, not scale them by 0."
    if not bool(torch.isfinite(got[1:]).all()):
        raise subject.failed(f"computes masked experts: {text} became NaN{built.words}. {remedy}")
    if not same(got[1:], want[1:]):
        raise subject.failed(f"computes masked experts: {text} changed {where_apart(got[1:], want[1:])}{built.words}.")


def _expect_less_work(subject: Subject, built: Built, experts: int) -> None:
    """NaN that is replaced afterwards would pass unseen; the FLOPs of a pass without experts would not."""
    x_BTD, of_experts = subject.inputs(), dict(built.layer.expert_parameters())
    every, none = _flops(built.layer, x_BTD, list(range(experts))), _flops(built.layer, x_BTD, [])
    weights = sum(p.numel() for n, p in built.layer.named_parameters() if n in of_experts)
    # Fewer FLOPs than one row through each expert: the counter does not know the kernels, and nothing follows.
    if every >= 2 * weights and every - none < 2 * weights // experts:
        raise subject.failed(
            f"computes masked experts: compute() takes {none:,} FLOPs with all {experts} masked and {every:,} with "
            f"none{built.words}. It must leave masked experts out, not drop their results."
        )


def _flops(layer: Layer, x_BTD: Tensor, kept: list[int]) -> int:
    """FLOPs of compute() on the loop backend, where the layer knows backends."""
    knows_backends = any(hasattr(module, "set_backend") for module in layer.modules())
    if knows_backends:
        choose_backend(layer, "loop")
    try:
        with torch.no_grad():
            routing = layer.route(x_BTD)
            with FlopCounterMode(display=False) as counter:
                layer.compute(x_BTD, routing, _keep(len(x_BTD), layer.num_experts, kept))
    finally:
        if knows_backends:
            choose_backend(layer, None)
    return int(counter.get_total_flops())


def check_masked_output_is_the_sum_of_kept_experts(subject: Subject) -> None:
    """Under any mask the output is that of no expert plus the contributions of the kept ones, each as if alone."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = _experts(subject, layer, separable=True)
        base = _masked(layer, x_BTD, _keep(len(x_BTD), experts, []))
        alone = [_masked(layer, x_BTD, _keep(len(x_BTD), experts, [e])) - base for e in range(experts)]
        parts_EBTO = torch.stack(alone)
        some_BE = _keep(len(x_BTD), experts)
        for kept_BE in (some_BE, ~some_BE, torch.ones_like(some_BE)):
            want = base + (parts_EBTO * kept_BE.T[:, :, None, None]).sum(0)
            got = _masked(layer, x_BTD, kept_BE)
            if not same(got, want, 1e-4):
                raise subject.failed(
                    f"does not add up: with {_some(kept_BE)} kept its output differs from the sum of the experts "
                    f"taken one by one {where_apart(got, want)}{built.words}; a mask leaves the weights of the others "
                    "unchanged."
                )


def _some(keep_BE: Tensor) -> str:
    return "all experts" if bool(keep_BE.all()) else f"{int(keep_BE[0].sum())} of {keep_BE.shape[1]} experts"


def check_mask_leaves_the_routing(subject: Subject) -> None:
    """compute() under a mask does not change the routing, nor what a later call without a mask gives."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = _experts(subject, layer)
        with torch.no_grad():
            routing = layer.route(x_BTD)
            want = layer.compute(x_BTD, routing)
            told = [t.clone() for t in (routing.mass_BE, routing.weight_BTK, routing.kept_BTK) if t is not None]
            layer.compute(x_BTD, routing, _keep(len(x_BTD), experts))
            now = [t for t in (routing.mass_BE, routing.weight_BTK, routing.kept_BTK) if t is not None]
            later = layer.compute(x_BTD, routing)
        if not all(torch.equal(a, b) for a, b in zip(told, now, strict=True)) or not same(later, want):
            raise subject.failed(
                f"changes the routing it is handed when compute() gets a mask: afterwards the unmasked output differs "
                f"{where_apart(later, want)}{built.words}."
            )
