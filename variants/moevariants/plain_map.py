"""The blocks that block_moe and conv_moe are mixtures of, with nothing to route: the rows they are compared with."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import Context, Layer, LayerShape, Routing, Variant
from moevariants.parts.maps import KERNEL, check_width, draw_convolution, grid_of, to_maps


class PlainBlock(Variant):
    """A basic block (He et al., arXiv 1512.03385) with norms over one image's map: act(x + norm(act(norm(x * w_in)) *
    w_out)). In a host that leaves the whole block to the layer. Size is the inner width. No settings.
    """

    name = "plain_block"
    revision = "2f6afe7293a9e93ddb07"
    paper = "https://arxiv.org/abs/1512.03385"
    hosts = ("map",)

    def build(self, shape: LayerShape, size: int) -> Layer:
        """One block of inner width ``size``."""
        check_width(shape, self.name)
        return PlainLayer(shape, grid_of(shape, self.name), size, whole=True)


class PlainConv(Variant):
    """The two convolutions of a basic block: act(norm(x * w_in)) * w_out + b. In a host that keeps the block's last
    norm, shortcut and activation. Size is the inner width. No settings.
    """

    name = "plain_conv"
    revision = "d30304244c0f2688b90d"
    hosts = ("map",)

    def build(self, shape: LayerShape, size: int) -> Layer:
        """Two convolutions of inner width ``size``."""
        return PlainLayer(shape, grid_of(shape, self.name), size, whole=False)


class PlainLayer(Layer):
    """Two convolutions; ``whole``: the block around them as well. Its routing decides nothing."""

    def __init__(self, shape: LayerShape, grid: tuple[int, int], hidden: int, *, whole: bool) -> None:
        super().__init__()
        self.shape, self.grid, self.whole = shape, grid, whole
        bias = shape.bias and not whole  # a norm that follows has a shift of its own
        self.conv_in = nn.Conv2d(shape.dim, hidden, KERNEL, padding=KERNEL // 2, bias=False)
        self.norm_in = nn.GroupNorm(1, hidden)
        self.conv_out = nn.Conv2d(hidden, shape.out_dim, KERNEL, padding=KERNEL // 2, bias=bias)
        self.norm_out = nn.GroupNorm(1, shape.out_dim) if whole else nn.Identity()
        draw_convolution(self.conv_in.weight)
        draw_convolution(self.conv_out.weight)
        if self.conv_out.bias is not None:
            nn.init.zeros_(self.conv_out.bias)

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """There is nothing to decide; ValueError where some tokens are padding, which no map has."""
        if context.token_mask_BT is not None:
            raise ValueError("a feature map has no padding")
        return Routing()

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """The convolutions."""
        if keep_BE is not None:
            raise ValueError("a plain block has no experts to keep")
        maps_BDhw = to_maps(x_BTD.flatten(1), self.grid)
        inner_BHhw = self.shape.activate(self.norm_in(self.conv_in(maps_BDhw)))
        y_BOhw: Tensor = self.norm_out(self.conv_out(inner_BHhw))
        if self.whole:
            y_BOhw = self.shape.activate(maps_BDhw + y_BOhw)
        return y_BOhw.flatten(2).mT
