"""A task of images: a source of pixels, a partition of their rows, what is known beforehand, and random changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from moebench.errors import UnknownNameError
from moebench.tasks.base import UNKNOWN, Image, Part, TaskInfo, sent
from moebench.tasks.partition import Partition
from moebench.tasks.pixels import channel_stats, content_digest, normalised
from moebench.tasks.targets import Classes, accuracy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from moebench.tasks.base import Split
    from moebench.tasks.pixels import ChannelStats, Pixels


TEN_CLASSES = 10


def equal_classes(name: str, label: str, image: Image, classes: int = TEN_CLASSES) -> TaskInfo:
    """Images of so many classes, equally many of each."""
    targets = {"class": classes}
    return TaskInfo(name=name, inputs=image, targets=targets, headline=accuracy(floor=1 / classes), label=label)


class Source(Protocol):
    """Finds and reads the files of one data set, as one or more pools of rows."""

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of the pools: ``all``, or ``train`` and ``test``."""
        ...

    def read(self, pool: str, data_dir: Path | None) -> Pixels:
        """The pixels of one pool; DataError if missing or damaged. Downloads if need be."""
        ...

    def fingerprint(self, data_dir: Path | None) -> str:
        """Digest of path, size and time of the files; DataError if they are not there."""
        ...

    def is_original(self, pools: Mapping[str, Pixels], data_dir: Path | None) -> bool:
        """Whether what was read is the data set itself, rather than others in files of its names."""
        ...


@dataclass(eq=False)
class ImageTask(Classes):
    """Classification of images."""

    info: TaskInfo
    source: Source
    partition: Partition
    augment: str | None = None
    known: dict[str, ChannelStats] = field(default_factory=dict, repr=False)
    """Statistics by the fingerprint of the files that they are of: a run loads three parts."""

    def __post_init__(self) -> None:
        self.split = self.partition.name

    def load(self, part: Part, data_dir: Path | None = None) -> Split:
        """One part, normalised per channel by the training part's statistics. Train and validation never open the file
        of an official test set.
        """
        self.check_part(part)
        pool = self.source.read(self.partition.pool, data_dir)
        rows, files = self.partition.rows(pool.labels_N), self.source.fingerprint(data_dir)
        if files not in self.known:
            self.known[files] = channel_stats(pool.take(rows["train"]).images_NCHW)
        chosen = pool.take(rows[part]) if part in rows else self.source.read(part, data_dir)
        return normalised(chosen, self.known[files])

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of all pixels and labels, before the split; marked as ``UNKNOWN`` where they are
        not those of the data set that the task is named after.
        """
        pools = {pool: self.source.read(pool, data_dir) for pool in self.source.pools}
        digest = content_digest(pools)
        known = digest in self.info.copies or self.source.is_original(pools, data_dir)
        return digest if known else f"{UNKNOWN}{digest}"

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """A digest of the files' path, size and time; never downloads."""
        return self.source.fingerprint(data_dir)


KINDS = ("crop-flip",)
PADDING = 4


def augment_batch(x_NCHW: Tensor, kind: str | None, generator: torch.Generator) -> Tensor:
    """The batch with ``kind`` applied to each image alone, in its own dtype and on its own device.

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
    mirrored = torch.randint(2, (N, 1), generator=generator, device=generator.device)
    top_N, left_N = sent(shifts, x_NCHW.device)
    mirrored = sent(mirrored, x_NCHW.device).bool()
    across_W = torch.arange(W, device=x_NCHW.device)
    rows_NH = top_N[:, None] + torch.arange(H, device=x_NCHW.device)
    columns_NW = left_N[:, None] + torch.where(mirrored, W - 1 - across_W, across_W)
    images_N11 = torch.arange(N, device=x_NCHW.device)[:, None, None]
    cut_NHWC = padded_NCHW.permute(0, 2, 3, 1)[images_N11, rows_NH[:, :, None], columns_NW[:, None, :]]
    return cut_NHWC.permute(0, 3, 1, 2).contiguous()
