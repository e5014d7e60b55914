"""A trained model with smaller layers in the places of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moebench.compression.allocate import allocate
from moebench.contract import Compressor, Met
from moebench.errors import MoebenchError, UsageError
from moebench.hosts.host import Call, Host
from moebench.training.evaluate import asking


def meet(model: Host, inputs: Tensor, *, precision: str = "fp32") -> list[Met]:
    """What each layer meets when the model answers ``inputs`` (N, ...), a few hundred in one pass, in evaluation."""
    call = Call(keep_inputs=True)
    with asking(model), torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        model.run(inputs, call)
    return [Met(*each) for each in zip(model.layers(), call.inputs, call.routings, strict=True)]


def compress(
    model: Host, met: list[Met], compressor: Compressor, keep: int, settings: Mapping[str, Any], seed: int
) -> Host:
    """A copy of the model whose layers keep ``keep`` experts on average, divided by their use.

    met: see :func:`meet`. seed: of what the method draws. :class:`UsageError`, in one sentence, where the model is not
    one that this method is for, or a setting is wrong.
    """
    generator = torch.Generator().manual_seed(seed)
    try:
        numbers = allocate([each.usage_E for each in met], keep)
        layers = [
            compressor.compress(each, number, settings, generator) for each, number in zip(met, numbers, strict=True)
        ]
    except MoebenchError:
        raise
    except ValueError as error:
        raise UsageError(f"{compressor.name}: this model cannot be compressed: {error}.") from error
    smaller = copy.deepcopy(model)
    smaller.attach(layers)
    return smaller.eval()
