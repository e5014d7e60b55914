"""A trained model with smaller layers in the places of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moebench.contract import Layer
from moebench.errors import MoebenchError, PluginError, UsageError
from moebench.hosts.host import Call, Host
from moebench.measures.compression.compressor import Compressor, Met
from moebench.measures.subset.select import check_kept
from moebench.text import told


def meet(model: Host, inputs: Tensor, *, precision: str = "fp32") -> list[Met]:
    """The inputs and routing of each layer on ``inputs`` (N, ...), a few hundred in one pass, in evaluation.

    Tokens have the type of the layer's weights, whatever the precision: what is compressed is the weights.
    """
    call = Call(keep_inputs=True)
    # Not in inference mode, whose tensors have no gradients.
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
    name, generator = compressor.name, torch.Generator().manual_seed(seed)
    try:
        numbers = allocate([each.usage_E for each in met], keep)
        layers = [compressor.compress(each, n, settings, generator) for each, n in zip(met, numbers, strict=True)]
    except MoebenchError:
        raise
    except ValueError as error:
        raise UsageError(
            f"{name}: this model cannot be compressed: {error}.", code="cannot-compress", compressor=name
        ) from error
    except Exception as error:
        first = told(error)
        raise PluginError(
            f"compressor {name}: it raised {first}.", code="compressor-raised", compressor=name
        ) from error
    for layer, number in zip(layers, numbers, strict=True):
        if not isinstance(layer, Layer) or layer.num_experts != number:
            given = layer.num_experts if isinstance(layer, Layer) else f"no layer but a {type(layer).__name__}"
            raise PluginError(
                f"compressor {name}: it was to keep {number} experts, and gives {given}.",
                code="compressor-kept-other-number",
                compressor=name,
            )
    smaller = copy.deepcopy(model)
    smaller.attach(layers)
    return smaller.eval()


def allocate(usages: Sequence[Tensor], keep: int) -> list[int]:
    """One number a layer, ``keep`` on average: the most used experts of the whole model stay, and one in each layer at
    least (Li et al., arXiv 2310.01334, section 3.1: a global threshold).

    usages: usage_E of each layer. :class:`UsageError` where ``keep`` is not from 1 to E.
    """
    fewest = min(len(usage_E) for usage_E in usages)
    check_kept(keep, fewest)
    # The first of each layer has its place; the others follow by use, of equal ones those of earlier layers.
    others = torch.cat([usage_E.sort(descending=True).values[1:] for usage_E in usages])
    layer_of = torch.cat([torch.full((len(usage_E) - 1,), index) for index, usage_E in enumerate(usages)])
    chosen = others.argsort(descending=True, stable=True)[: (keep - 1) * len(usages)].cpu()
    return [1 + int((layer_of[chosen] == index).sum()) for index in range(len(usages))]
