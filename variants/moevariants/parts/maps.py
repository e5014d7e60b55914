"""Experts that work on a whole feature map: one convolution each, or one ResNet block each.

h, w height and width of a map   F = h w D numbers of one input's map, place by place, as x_BTD has them
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import LayerShape
from moevariants.parts.experts import Bank, by_expert

KERNEL = 3
"""Convolutions are 3 x 3, with zeros around the map, as in a basic block."""


def grid_of(shape: LayerShape, name: str) -> tuple[int, int]:
    """Height and width of the slot's map; ValueError with a sentence where it has none."""
    if shape.grid is None:
        raise ValueError(f"{name} needs a feature map; this slot's tokens have no height and width")
    return shape.grid


def check_width(shape: LayerShape, name: str) -> None:
    """ValueError where a block's shortcut would have to change the width."""
    if shape.dim != shape.out_dim:
        raise ValueError(f"{name}: a block's shortcut keeps its width, the host asks {shape.dim}->{shape.out_dim}")


def to_maps(rows_NF: Tensor, grid: tuple[int, int]) -> Tensor:
    """x_NDhw of maps that are given as rows."""
    height, width = grid
    dim = rows_NF.shape[1] // (height * width)
    return rows_NF.reshape(len(rows_NF), height, width, dim).movedim(-1, 1)


def to_rows(x_NDhw: Tensor) -> Tensor:
    """rows_NF, the inverse of :func:`to_maps`."""
    return x_NDhw.movedim(1, -1).flatten(1)


def convolve(x_NIhw: Tensor, weight_OIkk: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """y_NOhw, of the map's size."""
    return F.conv2d(x_NIhw, weight_OIkk, bias_O, padding=KERNEL // 2)


def norm_map(x_NChw: Tensor, scale_C: Tensor, shift_C: Tensor) -> Tensor:
    """Zero mean and unit variance over one input's whole map, then a scale and a shift a channel.

    Not over the batch: an expert sees few inputs of it, and other ones in training than when it is asked alone.
    """
    return F.group_norm(x_NChw, 1, scale_C, shift_C)


def draw_convolution(weight: Tensor) -> None:
    """Normal with deviation sqrt(2 / (O k k)), as ResNets are drawn; the last axes are O, I, k, k."""
    nn.init.normal_(weight, std=(2 / (weight.shape[-4] * KERNEL**2)) ** 0.5)


class MapExperts(Bank):
    """What both banks share: a row is a whole map of F numbers, and experts work one after the other."""

    def __init__(self, count: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.count, self.grid = count, grid

    def expert(self, maps_NIhw: Tensor, own: dict[str, Tensor]) -> Tensor:
        """y_NOhw of one expert, whose parameters are ``own``."""
        raise NotImplementedError

    def forward_rows(self, rows_NF: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
        """Outputs, as rows, of maps sorted by expert."""
        # Unbound, for a stack that is indexed makes each expert's backward pass write a whole stack of zeros.
        stacks = {name: parameter.unbind(0) for name, parameter in self.named_parameters()}
        outputs = []
        for e, rows_nF in by_expert(rows_NF, counts_E):
            own = {name: stack[e] for name, stack in stacks.items()}
            outputs.append(to_rows(self.expert(to_maps(rows_nF, self.grid), own)))
        return torch.cat(outputs)


class ConvExperts(MapExperts):
    """E convolutions y = x * w + b; b where the host has biases."""

    bias_EO: nn.Parameter | None

    def __init__(self, num_experts: int, dim: int, out_dim: int, grid: tuple[int, int], *, bias: bool) -> None:
        super().__init__(num_experts, grid)
        self.weight_EOIkk = nn.Parameter(torch.empty(num_experts, out_dim, dim, KERNEL, KERNEL))
        self.bias_EO = nn.Parameter(torch.zeros(num_experts, out_dim)) if bias else None
        draw_convolution(self.weight_EOIkk)

    def expert(self, maps_NIhw: Tensor, own: dict[str, Tensor]) -> Tensor:
        """y_NOhw of one convolution."""
        return convolve(maps_NIhw, own["weight_EOIkk"], own.get("bias_EO"))


class BlockExperts(MapExperts):
    """E basic blocks act(x + norm(act(norm(x * w_in)) * w_out)) of inner width H, with the host's activation."""

    def __init__(self, num_experts: int, dim: int, hidden: int, grid: tuple[int, int], shape: LayerShape) -> None:
        super().__init__(num_experts, grid)
        self.shape = shape
        self.w_in_EHDkk = nn.Parameter(torch.empty(num_experts, hidden, dim, KERNEL, KERNEL))
        self.scale_in_EH = nn.Parameter(torch.ones(num_experts, hidden))
        self.shift_in_EH = nn.Parameter(torch.zeros(num_experts, hidden))
        self.w_out_EDHkk = nn.Parameter(torch.empty(num_experts, dim, hidden, KERNEL, KERNEL))
        self.scale_out_ED = nn.Parameter(torch.ones(num_experts, dim))
        self.shift_out_ED = nn.Parameter(torch.zeros(num_experts, dim))
        draw_convolution(self.w_in_EHDkk)
        draw_convolution(self.w_out_EDHkk)

    def expert(self, maps_NIhw: Tensor, own: dict[str, Tensor]) -> Tensor:
        """y_NDhw of one block."""
        inner_NHhw = norm_map(convolve(maps_NIhw, own["w_in_EHDkk"]), own["scale_in_EH"], own["shift_in_EH"])
        branch_NDhw = convolve(self.shape.activate(inner_NHhw), own["w_out_EDHkk"])
        return self.shape.activate(maps_NIhw + norm_map(branch_NDhw, own["scale_out_ED"], own["shift_out_ED"]))
