"""BlockMoE: each image goes, as a whole feature map, to a few of many ResNet blocks."""

from __future__ import annotations

from torch import nn

from moebench.contract import LayerShape
from moevariants.parts.map_layer import MapMoE
from moevariants.parts.maps import BlockExperts, MapExperts, check_width, grid_of


class BlockMoE(MapMoE):
    """Experts are ResNet blocks (Pavlitska et al., arXiv 2204.10598).

    y = sum over an image's K experts of p_e act(x + norm(act(norm(x * w_in,e)) * w_out,e)) with p = softmax over E of
    (mean over places of x) W: a convolution of D to H channels, one back, and the block's own shortcut. Meant for a
    host that leaves the whole block to the layer. Norms are over one image's map. Settings as in
    :class:`moevariants.parts.map_layer.MapMoE`. Size is the inner width H of one block.
    """

    name = "block_moe"
    revision = "31833f5966db26968e6e"
    paper = "https://arxiv.org/abs/2204.10598"

    def _work(self, shape: LayerShape, experts: int, size: int) -> tuple[MapExperts, nn.Module]:
        check_width(shape, self.name)
        return BlockExperts(experts, shape.dim, size, grid_of(shape, self.name), shape), nn.Identity()
