"""Images as bytes and their labels: what every reader gives, before it is normalised."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from moebench.tasks.base import Split


@dataclass(frozen=True)
class Pixels:
    """``images_NCHW`` uint8 and ``labels_N`` int64, in the order of the source."""

    images_NCHW: NDArray[np.uint8]
    labels_N: NDArray[np.int64]

    def take(self, rows: NDArray[Any]) -> Pixels:
        """The images and labels at these rows."""
        return Pixels(self.images_NCHW[rows], self.labels_N[rows])


@dataclass(frozen=True)
class ChannelStats:
    """Mean and standard deviation of each channel, in units of a byte."""

    mean_C: NDArray[np.float64]
    std_C: NDArray[np.float64]


def channel_stats(images_NCHW: NDArray[np.uint8]) -> ChannelStats:
    """Statistics over images and positions, from integer sums, so that they are exact on every machine."""
    import numpy as np

    x_NCP = images_NCHW.reshape(*images_NCHW.shape[:2], -1)
    count = x_NCP.shape[0] * x_NCP.shape[2]
    total_C = x_NCP.sum(axis=2, dtype=np.uint64).sum(axis=0)
    squares_C = np.einsum("ncp,ncp->nc", x_NCP, x_NCP, dtype=np.uint64, casting="unsafe").sum(axis=0)
    # Python's integers from here on: the products pass 64 bits.
    sums = [(int(total), int(squares)) for total, squares in zip(total_C, squares_C, strict=True)]
    std_C = np.array([math.sqrt((squares * count - total**2) / count**2) for total, squares in sums])
    return ChannelStats(np.array([total / count for total, _ in sums]), np.where(std_C > 0, std_C, 1.0))


def normalised(pixels: Pixels, stats: ChannelStats) -> Split:
    """The tensors of one part: (x - mean) / std in float32, channel by channel."""
    import numpy as np
    import torch

    from moebench.tasks.base import Split

    x_NCHW = pixels.images_NCHW.astype(np.float32)
    x_NCHW -= stats.mean_C.astype(np.float32)[:, None, None]
    x_NCHW /= stats.std_C.astype(np.float32)[:, None, None]
    return Split(torch.from_numpy(x_NCHW), {"class": torch.from_numpy(pixels.labels_N.astype(np.int64))})


def content_digest(pools: Mapping[str, Pixels]) -> str:
    """Twenty hexadecimal digits of names, shapes, pixels and labels; equal pixels give equal digits."""
    import numpy as np

    sha = hashlib.sha256()
    for name in sorted(pools):
        pixels = pools[name]
        sha.update(f"{name} {pixels.images_NCHW.shape}".encode())
        sha.update(np.ascontiguousarray(pixels.images_NCHW).data)
        sha.update(np.ascontiguousarray(pixels.labels_N, dtype="<i8").data)
    return sha.hexdigest()[:20]
