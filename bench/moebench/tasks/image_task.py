"""A task made of three parts: a source of pixels, a partition of their rows, and what is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from moebench.tasks.base import Part, TaskInfo
from moebench.tasks.classes import Classes
from moebench.tasks.partition import Partition
from moebench.tasks.pixels import channel_stats, content_digest, normalised

if TYPE_CHECKING:
    from moebench.tasks.base import Split
    from moebench.tasks.pixels import Pixels


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

    def encoding(self, data_dir: Path | None) -> str:
        """A word such as ``JPEG`` where the copy that is there was re-encoded; empty otherwise."""
        ...


@dataclass(eq=False)
class ImageTask(Classes):
    """Classification of images. ``title`` is the data set's name without a remark on its encoding."""

    info: TaskInfo
    title: str
    source: Source
    partition: Partition
    augment: str | None = None

    def __post_init__(self) -> None:
        self.split = self.partition.name

    def load(self, part: Part, data_dir: Path | None = None) -> Split:
        """One part, normalised per channel by the training part's statistics. Train and validation never open the file
        of an official test set.
        """
        self.check_part(part)
        pool = self.source.read(self.partition.pool, data_dir)
        rows = self.partition.rows(pool.labels_N)
        train = pool.take(rows["train"])
        stats = channel_stats(train.images_NCHW)
        if part == "train":
            return normalised(train, stats)
        return normalised(pool.take(rows[part]) if part in rows else self.source.read(part, data_dir), stats)

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of all pixels and labels, before the split."""
        return content_digest({pool: self.source.read(pool, data_dir) for pool in self.source.pools})

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """A digest of the files' path, size and time; never downloads."""
        return self.source.fingerprint(data_dir)

    def label(self, data_dir: Path | None = None) -> str:
        """The name to print beside numbers made from the copy that is there."""
        encoding = self.source.encoding(data_dir)
        return f"{self.title} ({encoding})" if encoding else self.title
