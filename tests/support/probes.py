"""What a linear map reads from a host's stream: the place of a token."""

from __future__ import annotations

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from moebench.hosts.host import Call, Host
from moebench.tasks import TaskInfo, Tokens

FIT, HELD_OUT = 512, 128
"""Inputs."""


def places_read(host: Host, info: TaskInfo) -> list[float]:
    """For each layer, in the order of the pass: the share of held-out tokens whose place, one of T, a linear classifier
    reads from the D numbers that the layer is given; 1 / T is chance.

    The inputs are noise, of which no part says where it is: what is read comes from the host.
    """
    call = Call(keep_inputs=True)
    with torch.no_grad():
        host.eval().run(noise(info, FIT + HELD_OUT), call)
    return [_read(x_BTD) for x_BTD in call.inputs]


def noise(info: TaskInfo, count: int) -> Tensor:
    """Inputs of independent entries: uniform token ids, or normal numbers."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(info.inputs, Tokens):
        return torch.randint(info.inputs.vocabulary, (count, *info.inputs.shape), generator=generator)
    return torch.randn(count, *info.inputs.shape, generator=generator)


def _read(x_BTD: Tensor) -> float:
    places_BT = torch.arange(x_BTD.shape[1]).expand(x_BTD.shape[:2])
    probe = LinearDiscriminantAnalysis(solver="lsqr").fit(x_BTD[:FIT].flatten(0, 1), places_BT[:FIT].flatten())
    return float(probe.score(x_BTD[FIT:].flatten(0, 1), places_BT[FIT:].flatten()))
