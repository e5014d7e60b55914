"""A mask means the same for all: what is masked adds nothing, and the rest is as it was."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.compare import difference_at, same
from moebench.checks.masking import experts_to_mask, keep, masked
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Built, Subject
from moebench.contract import Context


def check_keep_all_is_no_mask(subject: Subject) -> None:
    """Keeping all experts is the same as no mask."""
    for built in subject.trials():
        x_BTD = subject.inputs()
        everyone = list(range(experts_to_mask(subject, built.layer)))
        got, want = (
            masked(built.layer, x_BTD, keep(len(x_BTD), len(everyone), everyone)),
            built.layer(x_BTD),
        )
        if not same(got, want):
            raise subject.failed(
                f"differs with every expert kept from no mask, {difference_at(got, want)}{built.words}."
            )


def check_mask_is_obeyed(subject: Subject) -> None:
    """Masking an expert changes the outputs of the inputs that give it mass, and of no others."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = experts_to_mask(subject, layer)
        mass_BE, want = layer.route(x_BTD, Context()).mass_BE, layer(x_BTD).detach()
        if mass_BE is None:
            raise NotApplicable("its routing tells no mass.")
        mass_BE = mass_BE.detach()
        if bool(mass_BE.any()) and same(masked(layer, x_BTD, keep(len(x_BTD), experts, [])), want):
            raise subject.failed(f"ignores the mask: with every expert masked its outputs are the same{built.words}.")
        for e in range(experts):
            keep_BE = keep(len(x_BTD), experts, [i for i in range(experts) if i != e])
            _expect_who(subject, built, e, mass_BE[:, e], (masked(layer, x_BTD, keep_BE) - want).abs().amax((1, 2)))


def _expect_who(subject: Subject, built: Built, expert: int, mass_B: Tensor, change_B: Tensor) -> None:
    silent = (mass_B > 0.01) & (change_B == 0)
    ghost = (mass_B == 0) & (change_B > 1e-4)
    if bool(silent.any()):
        b = int(silent.nonzero()[0])
        raise subject.failed(
            f"ignores the mask: input {b} gives expert {expert} the mass {float(mass_B[b]):.3g}, but masking "
            f"it changes nothing{built.words}."
        )
    if bool(ghost.any()):
        b = int(ghost.nonzero()[0])
        raise subject.failed(
            f"changes input {b} by {float(change_B[b]):.3g} when expert {expert} is masked, to which it "
            f"gives no mass{built.words}."
        )


def check_mask_is_per_input(subject: Subject) -> None:
    """Each input follows its own row of the mask."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        keep_BE = keep(len(x_BTD), experts_to_mask(subject, layer))
        together = masked(layer, x_BTD, keep_BE)
        for b in range(len(x_BTD)):
            alone = masked(layer, x_BTD[b : b + 1], keep_BE[b : b + 1])
            if not same(together[b : b + 1], alone):
                raise subject.failed(
                    f"mixes up the masks of a batch: input {b} differs from itself alone under the same mask "
                    f"{difference_at(together[b : b + 1], alone)}{built.words}."
                )


def check_mask_adds_up(subject: Subject) -> None:
    """Under any mask the output is that of no expert plus what each kept one contributes when alone."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = experts_to_mask(subject, layer, separable=True)
        base = masked(layer, x_BTD, keep(len(x_BTD), experts, []))
        alone = [masked(layer, x_BTD, keep(len(x_BTD), experts, [e])) - base for e in range(experts)]
        parts_EBTO = torch.stack(alone)
        some_BE = keep(len(x_BTD), experts)
        for kept_BE in (some_BE, ~some_BE, torch.ones_like(some_BE)):
            want = base + (parts_EBTO * kept_BE.T[:, :, None, None]).sum(0)
            got = masked(layer, x_BTD, kept_BE)
            if not same(got, want, 1e-4):
                raise subject.failed(
                    f"does not add up: with {_some(kept_BE)} kept its output differs from the sum of the "
                    f"experts taken one by one {difference_at(got, want)}{built.words}; a mask leaves the "
                    "weights of the others unchanged."
                )


def _some(keep_BE: Tensor) -> str:
    return "all experts" if bool(keep_BE.all()) else f"{int(keep_BE[0].sum())} of {keep_BE.shape[1]} experts"


def check_mask_leaves_the_routing(subject: Subject) -> None:
    """compute() under a mask does not change the routing, nor what a later call without a mask gives."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        experts = experts_to_mask(subject, layer)
        with torch.no_grad():
            routing = layer.route(x_BTD, Context())
            want = layer.compute(x_BTD, routing)
            told = [t.clone() for t in (routing.mass_BE, routing.weight_BTK, routing.kept_BTK) if t is not None]
            layer.compute(x_BTD, routing, keep(len(x_BTD), experts))
            now = [t for t in (routing.mass_BE, routing.weight_BTK, routing.kept_BTK) if t is not None]
            later = layer.compute(x_BTD, routing)
        if not all(torch.equal(a, b) for a, b in zip(told, now, strict=True)) or not same(later, want):
            raise subject.failed(
                "changes the routing it is handed when compute() gets a mask: afterwards the unmasked output "
                f"differs {difference_at(later, want)}{built.words}."
            )
