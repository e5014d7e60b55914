"""A whole model from a seed: the host first, so that its weights are the same under every variant."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moebench.budgets.first_call import refuse_undrawn, undrawn_is_nan
from moebench.budgets.flops import counting, flops_of
from moebench.contract import Settings, Variant
from moebench.hosts.host import Call, Host
from moebench.hosts.registry import layer_shapes
from moebench.hosts.settings import HostSettings
from moebench.plugins.torch_settings import kept_settings
from moebench.tasks import TaskInfo, Tokens


def build_model(
    host: HostSettings, task: TaskInfo, variant: Variant, sizes: Sequence[int], settings: Settings, seed: int
) -> Host:
    """Seed torch's default generator, build the host, then its layers in order, all on the CPU in fp32.

    :class:`LayerError` where a layer's weights were not drawn.
    """
    torch.manual_seed(seed)
    model = host.build(task)
    shapes = layer_shapes(host, task)
    # A fixed point in the stream of random numbers: the layers' draws do not depend on the host's.
    torch.manual_seed(seed + 1)
    model.shows_groups = variant.reads_groups
    with kept_settings(), undrawn_is_nan():
        layers = [variant.layer(shape, size, settings) for shape, size in zip(shapes, sizes, strict=True)]
    refuse_undrawn(variant.name, layers)
    model.attach(layers)
    return model


def host_flops(model: Host, task: TaskInfo) -> int:
    """FLOPs of a forward pass of one input through the host, without its expert layers; on the CPU, in fp32.

    Those of the whole model are these and what ``budgets.count_flops`` says of each layer, at nominal routing.
    """
    inputs = torch.zeros(
        (1, *task.inputs.shape), dtype=torch.long if isinstance(task.inputs, Tokens) else torch.float32
    )
    with counting(model):
        return flops_of(model, lambda: model.run(inputs, Call(divided=lambda layer, x_BTD, context, routings: x_BTD)))
