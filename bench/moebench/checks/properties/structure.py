"""What it claims about the function it computes."""

from __future__ import annotations

import torch

from moebench.budgets.causal import find_leak
from moebench.checks.compare import difference_at, same
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Subject


def check_token_equivariance(subject: Subject) -> None:
    """Where it claims to be token-equivariant, permuting the tokens permutes the outputs."""
    if not subject.variant.token_equivariant:
        raise NotApplicable("it does not claim to be token-equivariant.")
    for built in subject.trials(samples=4):
        x_BTD = subject.inputs()
        order_T = torch.randperm(x_BTD.shape[1], generator=torch.Generator().manual_seed(4))
        got, want = built.layer(x_BTD[:, order_T]), built.layer(x_BTD)[:, order_T]
        if not same(got, want):
            raise subject.failed(
                f"claims to be token-equivariant, but with the tokens in the order {order_T.tolist()} its "
                f"outputs differ from the permuted ones {difference_at(got, want)}{built.words}."
            )


def check_causality(subject: Subject) -> None:
    """Where it claims to be causal, later tokens do not change the outputs of earlier ones."""
    if not subject.variant.causal:
        raise NotApplicable("it does not claim to be causal.")
    subject = subject.in_shape(causal=True)
    for built in subject.trials(samples=4):
        leak = find_leak(built.layer, subject.inputs(), subject.inputs(seed=6) * 3)
        if leak:
            raise subject.failed(
                f"claims to be causal, but changing the tokens from {leak.first} on changes earlier outputs "
                f"{difference_at(leak.got_BTO, leak.want_BTO)} in {'training' if leak.training else 'eval'} mode"
                f"{built.words}."
            )
