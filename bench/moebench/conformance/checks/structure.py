"""What its traits claim about the function it computes."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.conformance.compare import same, where_apart
from moebench.conformance.outcome import NotApplicable
from moebench.conformance.subject import Built, Subject
from moebench.contract import Layer


def check_token_equivariance(subject: Subject) -> None:
    """Where it claims to be token-equivariant, permuting the tokens permutes the outputs."""
    if not subject.variant.traits.token_equivariant:
        raise NotApplicable("it does not claim to be token-equivariant.")
    for built in subject.trials(samples=4):
        x_BTD = subject.inputs()
        order_T = torch.randperm(x_BTD.shape[1], generator=torch.Generator().manual_seed(4))
        got, want = built.layer(x_BTD[:, order_T]), built.layer(x_BTD)[:, order_T]
        if not same(got, want):
            raise subject.failed(
                f"claims to be token-equivariant, but with the tokens in the order {order_T.tolist()} its "
                f"outputs differ from the permuted ones {where_apart(got, want)}{built.words}."
            )


def check_causality(subject: Subject) -> None:
    """Where it claims to be causal, later tokens do not change the outputs of earlier ones."""
    if not subject.variant.traits.causal:
        raise NotApplicable("it does not claim to be causal.")
    subject = subject.in_shape(causal=True)
    for built in subject.trials(samples=4):
        for training in (False, True):
            _expect_causal(subject, built, training=training)


def _expect_causal(subject: Subject, built: Built, *, training: bool) -> None:
    layer, x_BTD = built.layer.train(training), subject.inputs()
    mode = "training" if training else "eval"
    want = _seeded(layer, x_BTD)
    for first in range(1, x_BTD.shape[1]):
        later = x_BTD.clone()
        later[:, first:] = subject.inputs(seed=6)[:, first:] * 3
        got = _seeded(layer, later)
        if not same(got[:, :first], want[:, :first]):
            raise subject.failed(
                f"claims to be causal, but changing the tokens from {first} on changes earlier outputs "
                f"{where_apart(got[:, :first], want[:, :first])} in {mode} mode{built.words}."
            )
    layer.eval()


def _seeded(layer: Layer, x_BTD: Tensor) -> Tensor:
    torch.manual_seed(2)
    y_BTO: Tensor = layer(x_BTD).detach()
    return y_BTO
