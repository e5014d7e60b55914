"""A trained model with smaller layers in the places of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moebench.contract import Layer
from moebench.errors import MoebenchError, PluginError, UsageError
from moebench.hosts.host import Call, Host
from moebench.measures.compression.allocate import allocate
from moebench.measures.compression.compressor import Compressor, Met


def meet(model: Host, inputs: Tensor, *, precision: str = "fp32") -> list[Met]:
    """What each layer meets when the model, in evaluation, answers ``inputs`` (N, ...), a few hundred in one pass.

    Tokens have the type of the layer's weights, whatever the precision: what is compressed is the weights.
    """
    call = Call(keep_inputs=True)
    # Not in inference mode, whose tensors could not be learnt from.
    with torch.no_grad(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        model.run(inputs, call)
    found = zip(model.layers(), call.inputs, call.routings, strict=True)
    return [Met(layer, x_BTD.to(next(layer.parameters())), routing) for layer, x_BTD, routing in found]


def compress(
    model: Host, met: list[Met], compressor: Compressor, keep: int, settings: Mapping[str, Any], seed: int
) -> Host:
    """A copy of the model whose layers keep ``keep`` experts on average, divided by their use.

    met: see :func:`meet`; the model is in evaluation. seed: of what the method draws. :class:`UsageError`, in one
    sentence, where the model is not one that this method is for, or a setting is wrong; :class:`PluginError` where the
    method fails, or gives another number of experts.
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
    except Exception as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise PluginError(f"compressor {compressor.name}: it raised {told.rstrip('.')}.") from error
    for layer, number in zip(layers, numbers, strict=True):
        if not isinstance(layer, Layer) or layer.num_experts != number:
            held = layer.num_experts if isinstance(layer, Layer) else f"no layer but a {type(layer).__name__}"
            raise PluginError(f"compressor {compressor.name}: it was to keep {number} experts, and gives {held}.")
    smaller = copy.deepcopy(model)
    smaller.attach(layers)
    return smaller.eval()
