"""CIFAR-10 and CIFAR-100: parquet files, or the batches that torchvision downloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import moebench.tasks.places as downloads
from moebench.errors import DataError
from moebench.tasks.base import Image
from moebench.tasks.image_task import TEN_CLASSES, ImageTask, equal_classes
from moebench.tasks.parquet import read_parquet
from moebench.tasks.partition import OfficialTest
from moebench.tasks.pixels import Pixels
from moebench.tasks.places import cached, file_fingerprint, missing, roots

IMAGE = (3, 32, 32)
POOLS = ("train", "test")


@dataclass(frozen=True)
class CifarFiles:
    """The files of each pool; ``batches`` is torchvision's folder where they are its batches."""

    files: Mapping[str, tuple[Path, ...]]
    batches: Path | None = None


@dataclass(frozen=True)
class CifarSource:
    """Parquet before torchvision's batches; decoded arrays are cached by the files' fingerprint.

    folders: searched for parquet and for ``batches``, torchvision's folder. batch_files: by pool, in that folder.
    torchvision: its class. label: the column of the class.
    """

    title: str
    classes: int
    folders: tuple[str, ...]
    batches: str
    batch_files: Mapping[str, tuple[str, ...]]
    torchvision: str
    label: str = "label"
    pools: tuple[str, ...] = POOLS

    def read(self, pool: str, data_dir: Path | None) -> Pixels:
        """Images and labels of ``train`` or ``test``."""
        found = self.locate(data_dir) or self._download(data_dir)
        files = found.files[pool]
        if found.batches is not None:
            folder = found.batches
            return cached(file_fingerprint(files), lambda: self._read_batches(folder, pool))
        return cached(file_fingerprint(files), lambda: read_parquet(files, IMAGE, self.classes, self.label))

    def is_original(self, pools: Mapping[str, Pixels], data_dir: Path | None) -> bool:
        """torchvision has compared its batches with the original's checksums; parquet may hold anything."""
        found = self.locate(data_dir)
        return found is not None and found.batches is not None

    def fingerprint(self, data_dir: Path | None) -> str:
        """Digest of path, size and time of the files."""
        found = self.locate(data_dir)
        if found is None:
            raise missing(self.title, roots(data_dir), self._remedy(data_dir))
        return file_fingerprint(path for pool in POOLS for path in found.files[pool])

    def locate(self, data_dir: Path | None) -> CifarFiles | None:
        """The first place that holds both training and test files."""
        for root in roots(data_dir):
            for folder in self.folders:
                found = _parquet(root / folder) or self._batches(root / folder)
                if found is not None:
                    return found
        return None

    def _download(self, data_dir: Path | None) -> CifarFiles:
        reason = downloads.download(self.torchvision, self.batches, roots(data_dir)[0])
        found = self.locate(data_dir)
        if found is None:
            raise missing(self.title, roots(data_dir), self._remedy(data_dir), reason)
        return found

    def _remedy(self, data_dir: Path | None) -> str:
        root = roots(data_dir)[0]
        return (
            f"put train-*.parquet and test-*.parquet (columns img {{bytes, path}} and {self.label}) into "
            f"'{root / self.folders[0]}', or unpack {self.title.lower()}-python.tar.gz so that there is "
            f"'{root / self.batches}'"
        )

    def _batches(self, folder: Path) -> CifarFiles | None:
        batches = folder / self.batches
        files = {pool: tuple(batches / name for name in names) for pool, names in self.batch_files.items()}
        whole = all(path.is_file() for paths in files.values() for path in paths)
        return CifarFiles(files, batches) if whole else None

    def _read_batches(self, batches: Path, pool: str) -> Pixels:
        """Through torchvision, which verifies checksums before it unpickles."""
        import numpy as np
        import torchvision.datasets

        kind = getattr(torchvision.datasets, self.torchvision)
        try:
            dataset = kind(root=str(batches.parent), train=pool == "train", download=False)
        except RuntimeError as error:
            raise DataError(
                f"'{_wrong_batch(kind, batches)}' is missing or has not the checksum that torchvision expects; fetch "
                "it again.",
                code="checksum",
            ) from error
        images_NCHW = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
        return Pixels(images_NCHW, np.asarray(dataset.targets, dtype=np.int64))


def _parquet(folder: Path) -> CifarFiles | None:
    files = {pool: tuple(sorted(folder.glob(f"{pool}*.parquet"))) for pool in POOLS}
    return CifarFiles(files) if all(files.values()) else None


def _wrong_batch(kind: Any, batches: Path) -> Path:
    from torchvision.datasets.utils import check_integrity

    expected = {**dict(kind.train_list + kind.test_list), kind.meta["filename"]: kind.meta["md5"]}
    wrong = (name for name, md5 in expected.items() if not check_integrity(batches / name, md5))
    return batches / next(wrong, "")


CIFAR10 = ImageTask(
    # Of JPEG at quality 75: scores on it are a little lower, and no others are mixed with them.
    replace(equal_classes("cifar10", "CIFAR-10", Image(*IMAGE)), copies={"955a793f275df35d3812": "JPEG"}),
    source=CifarSource(
        title="CIFAR-10",
        classes=TEN_CLASSES,
        # The layout of Hugging Face's copy has a folder plain_text.
        folders=("cifar10", "cifar10/plain_text", "plain_text", "."),
        batches="cifar-10-batches-py",
        batch_files={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        torchvision="CIFAR10",
    ),
    partition=OfficialTest(every=10),
    augment="crop-flip",
)

CIFAR100 = ImageTask(
    equal_classes("cifar100", "CIFAR-100", Image(*IMAGE), 100),
    source=CifarSource(
        title="CIFAR-100",
        classes=100,
        # The layout of Hugging Face's copy has a folder of the same name inside.
        folders=("cifar100", "cifar100/cifar100", "."),
        batches="cifar-100-python",
        batch_files={"train": ("train",), "test": ("test",)},
        torchvision="CIFAR100",
        label="fine_label",
    ),
    partition=OfficialTest(every=10),
    augment="crop-flip",
)
