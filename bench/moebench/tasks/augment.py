"""Random changes to training images: pure tensor operations, all chance from one generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.errors import UnknownNameError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KINDS = ("crop-flip",)
PADDING = 4


def augment_batch(x_NCHW: Tensor, kind: str | None, generator: torch.Generator) -> Tensor:
    """The batch with ``kind`` applied to each image by itself, in its own dtype and on its own device.

    ``crop-flip`` pads 4 pixels with zeros (the mean of normalised images), cuts a window of the old size at a
    random place and mirrors it left to right with chance 1/2. ``None`` returns the batch and draws nothing.
    """
    if kind is None:
        return x_NCHW
    if kind not in KINDS:
        raise UnknownNameError("augmentation", kind, KINDS)
    return _crop_flip(x_NCHW, generator)


def _crop_flip(x_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    import torch

    N, _, H, W = x_NCHW.shape
    padded_NCHW = torch.nn.functional.pad(x_NCHW, (PADDING,) * 4)
    # One draw on the generator's device, then moved: a CPU generator gives the same crops for every device.
    shifts = torch.randint(2 * PADDING + 1, (2, N), generator=generator, device=generator.device)
    mirrored = torch.randint(2, (N, 1), generator=generator, device=generator.device).to(x_NCHW.device).bool()
    top_N, left_N = shifts.to(x_NCHW.device)
    across_W = torch.arange(W, device=x_NCHW.device)
    rows_NH = top_N[:, None] + torch.arange(H, device=x_NCHW.device)
    columns_NW = left_N[:, None] + torch.where(mirrored, W - 1 - across_W, across_W)
    images_N11 = torch.arange(N, device=x_NCHW.device)[:, None, None]
    cut_NHWC = padded_NCHW.permute(0, 2, 3, 1)[images_N11, rows_NH[:, :, None], columns_NW[:, None, :]]
    return cut_NHWC.permute(0, 3, 1, 2).contiguous()
