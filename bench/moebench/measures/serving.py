"""A trained model as it is served: its parameters in the type in which it computes."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from moebench.hosts.host import Host


def as_served(model: Host, x: Tensor, precision: str) -> Host:
    """On CUDA, for a run in bf16, a copy with parameters in bfloat16; else the model itself.

    Autocast casts parameters of float32 in every call, those of idle experts too, so that a call would cost with all
    parameters that there are. x: a batch of inputs; a model that cannot answer them so stays as it is.
    """
    if x.device.type != "cuda" or precision != "bf16":
        return model
    served = in_bf16(model)
    try:
        with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16):
            served.outputs(x[:1])
    except Exception:  # whatever another author's layer raises
        return model
    return served


def in_bf16(model: Host) -> Host:
    """A copy in evaluation with its float32 parameters in bfloat16. Buffers, such as levels that balance the experts,
    stay as they are, and the product of a router in float32, of rounded weights: a near-tie may go to another expert,
    which changes no time.
    """
    copied = copy.deepcopy(model).eval()
    for parameter in copied.parameters():
        if parameter.dtype == torch.float32:
            parameter.data = parameter.data.to(torch.bfloat16)
    return copied
