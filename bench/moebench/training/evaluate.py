"""A trained model's answers, in batches, without gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.hosts.host import Call, Host, Select
from moebench.tasks import Split


@dataclass(frozen=True)
class Answers:
    """logits_NC in fp32, and mass_NE of each layer (None for a layer without experts)."""

    logits_NC: Tensor
    masses: tuple[Tensor | None, ...]


def answer(
    model: Host, data: Split, *, batch: int = 256, precision: str = "fp32", select: Select | None = None
) -> Answers:
    """All logits, and the masses each layer gave; ``select`` chooses the experts that act."""
    logits, calls = [], []
    training = model.training
    model.eval()
    with (
        torch.inference_mode(),
        torch.autocast(data.inputs.device.type, torch.bfloat16, enabled=precision == "bf16"),
    ):
        for x_NCHW in data.inputs.split(batch):
            call = Call(select=select)
            logits.append(model.run(x_NCHW, call).float())
            calls.append([routing.mass_BE for routing in call.routings])
    model.train(training)
    masses = tuple(_cat(parts) for parts in zip(*calls, strict=True))
    return Answers(torch.cat(logits), masses)


def _cat(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [part.float() for part in parts if part is not None]
    return torch.cat(present) if present else None


def correct(logits_NC: Tensor, target_N: Tensor) -> Tensor:
    """Whether each input was classified right, as fp64 zeros and ones (N,)."""
    return (logits_NC.argmax(1) == target_N).double()


def accuracy(logits_NC: Tensor, target_N: Tensor) -> float:
    """Share classified right."""
    return float(correct(logits_NC, target_N).mean())


def cross_entropy(logits_NC: Tensor, target_N: Tensor) -> float:
    """Mean loss in nats; breaks ties between equal accuracies."""
    return float(F.cross_entropy(logits_NC.double(), target_N))
