"""The same seed gives the same, another seed does not, and eval draws nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.compare import difference_at, listed
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import CheckSubject
from moebench.checks.toy import train
from moebench.contract import Context, Layer

STEPS = 3


def check_same_seed_same_results(subject: CheckSubject) -> None:
    """Two layers built and trained under one seed give equal weights, outputs and losses of three steps."""
    one, two = subject.build(seed=5), subject.build(seed=5)
    if unequal := _unequal(one, two):
        raise subject.failed(f"draws other weights for {listed(unequal)} when built twice under one seed")
    first, second = one.eval()(subject.inputs()), two.eval()(subject.inputs())
    if not torch.equal(first, second):
        raise subject.failed(f"gives other outputs under one seed, {difference_at(first, second)}")
    losses = []
    for layer in (one, two):
        torch.manual_seed(6)
        losses.append(train(layer, subject.defaults(), subject.inputs(), STEPS))
    if losses[0] != losses[1]:
        both = " and ".join(", ".join(f"{loss:.7g}" for loss in run) for run in losses)
        raise subject.failed(f"trained three steps twice under one seed, goes through the losses {both}")


def _unequal(one: Layer, two: Layer) -> list[str]:
    """Names of the tensors that differ; of those that only one has, too."""
    a, b = one.state_dict(), two.state_dict()
    return [n for n in {**a, **b} if n not in a or n not in b or not torch.equal(a[n], b[n])]


def check_another_seed_other_weights(subject: CheckSubject) -> None:
    """Another seed draws other weights, and so does a second layer from the same stream of random numbers."""
    one, two = subject.build(seed=5), subject.build(seed=6)
    drawn = [name for name, parameter in one.named_parameters() if parameter.numel() > 1]
    if not drawn:
        raise NotApplicable("it has no weights.")
    size = subject.sizes(subject.defaults())[0]
    torch.manual_seed(5)
    three, four = (subject.variant.layer(subject.shape, size, subject.defaults()) for _ in range(2))
    for pair, how in (((one, two), "under seeds 5 and 6"), ((three, four), "for two layers built in a row")):
        if not set(_unequal(*pair)) & set(drawn):
            raise subject.failed(f"draws the same weights {how}, in {listed(drawn)}: leave seeding alone")


def check_every_drawn_weight_differs(subject: CheckSubject) -> None:
    """Every parameter that looks drawn at random differs from one seed to another."""
    one, two = subject.build(seed=5), dict(subject.build(seed=6).named_parameters())
    fixed = [n for n, p in one.named_parameters() if torch.equal(p, two[n]) and _looks_drawn(p.detach())]
    if fixed:
        raise subject.failed(
            f"draws the same {listed(fixed)} under seeds 5 and 6: use torch's default generator, and no seed of its own"
        )


def _looks_drawn(weight: Tensor) -> bool:
    """Whether a matrix holds many different numbers in no order; what is built by a rule has an order."""
    flat = weight.flatten().double()
    if weight.ndim < 2 or len(flat) < 32 or len(set(flat.tolist())) < len(flat) / 2:
        return False
    flat = flat - flat.mean()
    return abs(float((flat[1:] * flat[:-1]).mean() / flat.square().mean())) < 0.5


def check_eval_draws_nothing(subject: CheckSubject) -> None:
    """In eval mode two calls give equal outputs and masses, and no random number is drawn."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first, mass = layer(x_BTD), layer.route(x_BTD, Context()).mass_BE
        if not torch.equal(before, torch.get_rng_state()):
            raise built.failed("draws random numbers in eval mode")
        torch.manual_seed(6)
        second, again = layer(x_BTD), layer.route(x_BTD, Context()).mass_BE
        if not torch.equal(first, second):
            raise built.failed(f"gives other outputs when called twice in eval mode, {difference_at(first, second)}")
        if mass is not None and again is not None and not torch.equal(mass, again):
            raise built.failed("gives other masses when called twice in eval mode")
