"""Auxiliary losses: one scalar a call, over all tokens of the batch, with a weight among the settings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moebench.checks.compare import gap, listed
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import CheckSubject
from moebench.contract import Context, Dimension, Layer, Uniform
from moebench.contract.variant import LOSS, loss_weights

OVER_THE_BATCH = ("balance", "importance", "load", "kl")
"""Losses that are defined over all tokens of the batch and are not means of values of single tokens."""

NONE = "its routing gives no auxiliary losses."


def _losses(layer: Layer, x_BTD: Tensor) -> Mapping[str, Tensor]:
    """The losses of one call in training mode; the layer is left in eval mode."""
    torch.manual_seed(1)
    losses = layer.train().route(x_BTD, Context()).losses
    layer.eval()
    return losses


def check_losses_are_scalars(subject: CheckSubject) -> None:
    """Every loss that it gives is a finite scalar, and has a gradient while its weight is not zero."""
    given = False
    for built in subject.trials():
        weights = loss_weights(built.settings)
        trains = any(parameter.requires_grad for parameter in built.layer.parameters())
        for name, loss in _losses(built.layer, subject.inputs()).items():
            given = True
            if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
                shape = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"of {type(loss).__name__}"
                raise built.failed(f"gives a loss '{name}' {shape}; it must be a scalar tensor")
            if not bool(torch.isfinite(loss)):
                raise built.failed(f"gives {loss.item()} as its loss '{name}'")
            if weights.get(name) and trains and not loss.requires_grad:
                raise built.failed(f"gives a loss '{name}' without a gradient, so that its weight does nothing")
    if not given:
        raise NotApplicable(NONE)


def check_loss_weights_have_losses(subject: CheckSubject) -> None:
    """For every setting loss/<name> with a weight the routing gives that loss in training."""
    largest = {name: _largest(dimension) for name, dimension in subject.space().items() if name.startswith(LOSS)}
    weighed = {name: weight for name, weight in largest.items() if weight}
    for name, weight in weighed.items():
        given = _losses(subject.build({**subject.defaults(), name: weight}), subject.inputs())
        if name.removeprefix(LOSS) not in given:
            raise subject.failed(
                f"has a setting '{name}', but with {name}={weight:.4g} its routing gives "
                f"{listed(list(given)) or 'no losses'}"
            )
    for loss in _losses(subject.build(), subject.inputs()):
        if f"{LOSS}{loss}" not in largest:
            subject.note(f"gives a loss '{loss}' that nothing weighs: there is no setting '{LOSS}{loss}'.")
    if not weighed:
        raise NotApplicable("none of its settings is the weight of a loss.")


def _largest(dimension: Dimension) -> float:
    if isinstance(dimension, Uniform):
        return float(dimension.high)
    return max((float(o) for o in dimension.options if isinstance(o, int | float)), default=0.0)


def check_losses_do_not_accumulate(subject: CheckSubject) -> None:
    """A loss is that of its own call: the same input gives the same, however many calls went before."""
    for built in subject.trials():
        first = _losses(built.layer, subject.inputs())
        if not first:
            raise NotApplicable(NONE)
        for _ in range(3):
            again = _losses(built.layer, subject.inputs())
        for name, loss in first.items():
            if gap(again[name], loss) > 1e-5:
                raise built.failed(
                    f"gives the loss '{name}' as {loss.item():.6g} at the first call and "
                    f"{again[name].item():.6g} at the fourth with the same input"
                )


def check_losses_are_over_the_batch(subject: CheckSubject) -> None:
    """By default balance losses are taken over all tokens of the batch, not inside each input."""
    layer, x_BTD = next(iter(subject.trials(samples=0))).layer, subject.inputs()
    whole = _losses(layer, x_BTD)
    names = [name for name in OVER_THE_BATCH if name in whole]
    if not names:
        raise NotApplicable(f"it gives none of the losses {', '.join(OVER_THE_BATCH)}." if whole else NONE)
    of_inputs = [_losses(layer, input_1TD) for input_1TD in torch.split(x_BTD, 1)]
    for name in names:
        loss_B = torch.stack([losses[name].detach() for losses in of_inputs])
        varies = float(loss_B.max() - loss_B.min()) > 1e-4 * float(loss_B.abs().max())
        if varies and gap(whole[name], loss_B.mean()) < 1e-5:
            raise subject.failed(
                f"takes its loss '{name}' inside each input: for {len(x_BTD)} inputs it is {whole[name].item():.6g}, "
                "the mean of what they give one by one. Over all tokens of the batch experts may specialise"
            )
