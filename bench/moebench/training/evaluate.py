"""A trained model's answers, in batches, without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.hosts.host import AS_IS, Call, Host, Select
from moebench.tasks import Split

BATCH = 256
"""Inputs a pass, where nothing else is said."""

MOST_PAIRS = 2**15
"""Pairs of an expert and an input in a pass that selects: with more, a layer's slots are memory that the system hands
out anew each time, and a pass over 512 experts takes twice as long.
"""


@dataclass(frozen=True)
class Answers:
    """logits_NC in fp32 (N, A, C of a sequence), and mass_NE of each layer (None for a layer without experts)."""

    logits_NC: Tensor
    masses: tuple[Tensor | None, ...]


def answer(
    model: Host,
    data: Split,
    *,
    batch: int | None = None,
    precision: str = "fp32",
    select: Select | None = None,
    rule: str = AS_IS,
) -> Answers:
    """All logits, and the masses each layer gave; ``select`` chooses the experts that act, ``rule`` combines them."""
    logits, calls = [], []
    with asking(model), torch.autocast(data.inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        for x_NCHW in torch.split(data.inputs, batch or _batch(model, select)):
            call = Call(select=select, rule=rule)
            logits.append(model.run(x_NCHW, call).float())
            calls.append([routing.mass_BE for routing in call.routings])
    masses = tuple(_cat(parts) for parts in zip(*calls, strict=True))
    return Answers(torch.cat(logits), masses)


def _batch(model: Host, select: Select | None) -> int:
    if select is None:
        return BATCH
    experts = max((layer.num_experts for layer in model.layers()), default=0)
    return max(1, min(BATCH, MOST_PAIRS // max(1, experts)))


@contextmanager
def asking(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode the model was in comes back, whatever happens."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _cat(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [part.float() for part in parts if part is not None]
    return torch.cat(present) if present else None


def correct(logits_NC: Tensor, target_N: Tensor) -> Tensor:
    """Whether each input was classified right, as fp64 zeros and ones (N,); a sequence (N, A, C) at every place."""
    return (logits_NC.argmax(-1) == target_N).unsqueeze(-1).flatten(1).all(1).double()


def accuracy(logits_NC: Tensor, target_N: Tensor) -> float:
    """Share classified right."""
    return float(correct(logits_NC, target_N).mean())


def cross_entropy(logits_NC: Tensor, target_N: Tensor) -> float:
    """Mean loss in nats; breaks ties between equal accuracies."""
    return float(F.cross_entropy(logits_NC.double().flatten(0, -2), target_N.flatten()))
