"""Memory for large results on a CPU, in large pages.

The C library gives blocks of more than 32 MiB back to the system as soon as they are free, so that the next one is
mapped anew, page by page of 4 KiB, which takes longer than many a product that fills it: 64 x 192 x 768 numbers 8.5 ms
with the product, 2.4 in pages of 2 MiB. NumPy asks Linux for those where it can (``NUMPY_MADVISE_HUGEPAGE``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LARGE = 32 << 20
"""Bytes above which the C library keeps nothing."""


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of this shape, of the type and on the device of ``like``, with anything in it."""
    if is_large(shape, like):
        return torch.from_numpy(np.empty(tuple(shape), np.float32))
    return like.new_empty(shape)


def is_large(shape: Sequence[int], like: Tensor) -> bool:
    """Whether :func:`empty` takes large pages."""
    on_cpu = like.device.type == "cpu" and like.dtype == torch.float32
    return on_cpu and math.prod(shape) * like.itemsize > LARGE
