"""Auxiliary losses: one scalar a call, over all tokens of the batch, with a weight among the settings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moebench.checks.compare import gap, listed, number
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Built, Subject
from moebench.checks.toy import loss_weights
from moebench.contract import Choice, Context, Dimension, Layer, Uniform

OVER_THE_BATCH = ("balance", "importance", "load", "kl")
"""Losses that are defined over all tokens of the batch and are not means of values of single tokens."""


def _losses(layer: Layer, x_BTD: Tensor, seed: int = 1) -> Mapping[str, Tensor]:
    """The losses of one call in training mode; the layer is left in eval mode."""
    torch.manual_seed(seed)
    losses = layer.train().route(x_BTD, Context()).losses
    layer.eval()
    return losses


def check_losses_are_scalars(subject: Subject) -> None:
    """Every loss that it gives is a finite scalar, and has a gradient while its weight is not zero."""
    given = False
    for built in subject.trials():
        weights = loss_weights(built.settings)
        for name, loss in _losses(built.layer, subject.inputs()).items():
            given = True
            if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
                shape = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"of {type(loss).__name__}"
                raise subject.failed(f"gives a loss '{name}' {shape}; it must be a scalar tensor{built.words}.")
            if not bool(torch.isfinite(loss)):
                raise subject.failed(f"gives {number(loss)} as its loss '{name}'{built.words}.")
            trains = any(parameter.requires_grad for parameter in built.layer.parameters())
            if weights.get(name) and trains and not loss.requires_grad:
                raise subject.failed(f"gives a loss '{name}' without a gradient: its weight does nothing{built.words}.")
    if not given:
        raise NotApplicable("its routing gives no auxiliary losses.")


def check_loss_weights_have_losses(subject: Subject) -> None:
    """For every setting loss/<name> with a weight the routing gives that loss in training."""
    names = [name for name in subject.space() if name.startswith("loss/")]
    asked = False
    for name in names:
        settings = {**subject.defaults(), name: _largest(subject.space()[name])}
        if not settings[name]:
            continue
        asked = True
        given = _losses(subject.build(settings), subject.inputs())
        if name.removeprefix("loss/") not in given:
            raise subject.failed(
                f"has a setting '{name}', but with {name}={settings[name]:.4g} its routing gives "
                f"{listed(list(given)) or 'no losses'}."
            )
    for loss in _losses(subject.build(), subject.inputs()):
        if f"loss/{loss}" not in names:
            subject.note(f"gives a loss '{loss}' that nothing weighs: there is no setting 'loss/{loss}'.")
    if not asked:
        raise NotApplicable("none of its settings is the weight of a loss.")


def _largest(dimension: Dimension) -> float:
    if isinstance(dimension, Uniform):
        return float(dimension.high)
    options = dimension.options if isinstance(dimension, Choice) else ()
    return max((float(o) for o in options if isinstance(o, int | float)), default=0.0)


def check_losses_do_not_accumulate(subject: Subject) -> None:
    """A loss is that of its own call: the same input gives the same, however many calls went before."""
    _need_losses(subject)
    for built in subject.trials():
        first = _losses(built.layer, subject.inputs())
        for _ in range(3):
            again = _losses(built.layer, subject.inputs())
        for name, loss in first.items():
            if gap(again[name], loss) > 1e-5:
                raise subject.failed(
                    f"gives the loss '{name}' as {number(loss):.6g} at the first call and "
                    f"{number(again[name]):.6g} at the fourth with the same input{built.words}."
                )


def check_losses_are_over_the_batch(subject: Subject) -> None:
    """By default balance losses are taken over all tokens of the batch, not inside each input."""
    _need_losses(subject)
    built = next(iter(subject.trials(samples=0)))
    x_BTD = subject.inputs()
    whole = _losses(built.layer, x_BTD)
    names = [name for name in OVER_THE_BATCH if name in whole]
    if not names:
        raise NotApplicable(f"it gives none of the losses {', '.join(OVER_THE_BATCH)}.")
    for name in names:
        _expect_over_batch(subject, built, name, whole[name], x_BTD)


def _expect_over_batch(subject: Subject, built: Built, name: str, whole: Tensor, x_BTD: Tensor) -> None:
    single = torch.stack([_losses(built.layer, x_BTD[b : b + 1])[name].detach() for b in range(len(x_BTD))])
    spread = float(single.max() - single.min())
    if spread > 1e-4 * float(single.abs().max()) and gap(whole, single.mean()) < 1e-5:
        raise subject.failed(
            f"takes its loss '{name}' inside each input: for {len(x_BTD)} inputs it is {number(whole):.6g}, "
            "the mean of what they give one by one. Over all tokens of the batch experts may specialise."
        )


def _need_losses(subject: Subject) -> None:
    if not _losses(subject.build(), subject.inputs()):
        raise NotApplicable("its routing gives no auxiliary losses.")
