"""How often each token id occurs in training data, for layers that want to know before they are trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moebench.hosts.host import Host
from moebench.tasks import Split, Stream, TaskInfo, Tokens

MOST = 1 << 22
"""Tokens that are counted: windows at equal distances. Of a stream, as many as :data:`DRAWN` inputs have."""

DRAWN = 4096


def show_token_counts(model: Host, task: TaskInfo, data: Split | Stream) -> None:
    """Tell each layer that has ``expect_tokens``; nothing where inputs are no token ids. No random state changes."""
    found: list[Callable[[Tensor], None] | None] = [getattr(layer, "expect_tokens", None) for layer in model.layers()]
    told = [expect_tokens for expect_tokens in found if expect_tokens is not None]
    if told and isinstance(task.inputs, Tokens):
        counts_V = token_counts(task.inputs, data)
        for expect_tokens in told:
            expect_tokens(counts_V)


def token_counts(inputs: Tokens, data: Split | Stream) -> Tensor:
    """counts_V, on the CPU."""
    if isinstance(data, Stream):
        ids_NT = data.draw(DRAWN, torch.Generator().manual_seed(0)).inputs
    else:
        most = min(len(data), max(1, MOST // inputs.length))
        ids_NT = data.inputs[torch.arange(most) * len(data) // most]
    return torch.bincount(ids_NT.flatten().long().cpu(), minlength=inputs.vocabulary)
