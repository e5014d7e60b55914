"""ConvMoE: one convolution of a ResNet block is a mixture, of which each image has a few."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape
from moevariants.parts.map_layer import MapMoE
from moevariants.parts.maps import (
    KERNEL,
    ConvExperts,
    MapExperts,
    convolve,
    draw_convolution,
    grid_of,
    norm_map,
    to_maps,
    to_rows,
)


class ConvMoE(MapMoE):
    """Experts are single convolutions (Pavlitska et al., arXiv 2204.10598).

    y = sum over an image's K experts of p_e (z * w_e + b_e), z = act(norm(x * w_in)), p = softmax over E of (mean over
    places of x) W: the two convolutions of a basic block, the first for all images, the second a mixture. Meant for a
    host that keeps the block's last norm, shortcut and activation. Norms are over one image's map. Settings as in
    :class:`moevariants.parts.map_layer.MapMoE`. Size is the width H between the convolutions.
    """

    name = "conv_moe"
    revision = "a6cb09cca0282d4125d9"
    paper = "https://arxiv.org/abs/2204.10598"

    def _work(self, shape: LayerShape, experts: int, size: int) -> tuple[MapExperts, nn.Module]:
        grid = grid_of(shape, self.name)
        return ConvExperts(experts, size, shape.out_dim, grid, bias=shape.bias), FirstHalf(shape, size, grid)


class FirstHalf(nn.Module):
    """act(norm(x * w_in)), from rows of maps to rows of maps."""

    def __init__(self, shape: LayerShape, hidden: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.shape, self.grid = shape, grid
        self.w_in_HDkk = nn.Parameter(torch.empty(hidden, shape.dim, KERNEL, KERNEL))
        self.scale_H = nn.Parameter(torch.ones(hidden))
        self.shift_H = nn.Parameter(torch.zeros(hidden))
        draw_convolution(self.w_in_HDkk)

    def forward(self, rows_BF: Tensor) -> Tensor:
        """The inner maps."""
        maps_BDhw = to_maps(rows_BF, self.grid)
        inner_BHhw = self.shape.activate(norm_map(convolve(maps_BDhw, self.w_in_HDkk), self.scale_H, self.shift_H))
        return to_rows(inner_BHhw)
