"""CIFAR-10: parquet files, or the batches that torchvision downloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import moebench.tasks.places as downloads
from moebench.errors import DataError
from moebench.tasks.base import Image
from moebench.tasks.image_task import ImageTask, ten_classes
from moebench.tasks.parquet import read_parquet
from moebench.tasks.partition import OfficialTest
from moebench.tasks.pixels import Pixels
from moebench.tasks.places import cached, file_fingerprint, missing, roots

IMAGE = (3, 32, 32)
CLASSES = 10
BATCHES = "cifar-10-batches-py"
POOLS = ("train", "test")
BATCH_FILES: Mapping[str, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
# The layout of Hugging Face's copy has a folder plain_text.
FOLDERS = ("cifar10", "cifar10/plain_text", "plain_text", ".")


@dataclass(frozen=True)
class CifarFiles:
    """The files of each pool; ``batches`` is torchvision's folder where they are its batches."""

    files: Mapping[str, tuple[Path, ...]]
    batches: Path | None = None


@dataclass(frozen=True)
class CifarSource:
    """Parquet before torchvision's batches; decoded arrays are cached by the files' fingerprint."""

    pools: tuple[str, ...] = POOLS

    def read(self, pool: str, data_dir: Path | None) -> Pixels:
        """Images and labels of ``train`` or ``test``."""
        found = locate(data_dir) or _download(data_dir)
        files = found.files[pool]
        if found.batches is not None:
            folder = found.batches
            return cached(file_fingerprint(files), lambda: _read_batches(folder, pool))
        return cached(file_fingerprint(files), lambda: read_parquet(files, IMAGE, CLASSES))

    def is_original(self, pools: Mapping[str, Pixels], data_dir: Path | None) -> bool:
        """torchvision has compared its batches with the original's checksums; parquet may hold anything."""
        found = locate(data_dir)
        return found is not None and found.batches is not None

    def fingerprint(self, data_dir: Path | None) -> str:
        """Digest of path, size and time of the files."""
        found = locate(data_dir)
        if found is None:
            raise missing("CIFAR-10", roots(data_dir), _remedy(data_dir))
        return file_fingerprint(path for pool in POOLS for path in found.files[pool])


def locate(data_dir: Path | None) -> CifarFiles | None:
    """The first place that holds both training and test files."""
    for root in roots(data_dir):
        for folder in FOLDERS:
            found = _parquet(root / folder) or _batches(root / folder)
            if found is not None:
                return found
    return None


def _download(data_dir: Path | None) -> CifarFiles:
    reason = downloads.download("CIFAR10", BATCHES, roots(data_dir)[0])
    found = locate(data_dir)
    if found is None:
        raise missing("CIFAR-10", roots(data_dir), _remedy(data_dir), reason)
    return found


def _remedy(data_dir: Path | None) -> str:
    root = roots(data_dir)[0]
    return (
        f"put train-*.parquet and test-*.parquet (columns img {{bytes, path}} and label) into "
        f"'{root / 'cifar10'}', or unpack cifar-10-python.tar.gz so that there is '{root / BATCHES}'"
    )


def _parquet(folder: Path) -> CifarFiles | None:
    files = {pool: tuple(sorted(folder.glob(f"{pool}*.parquet"))) for pool in POOLS}
    return CifarFiles(files) if all(files.values()) else None


def _batches(folder: Path) -> CifarFiles | None:
    batches = folder / BATCHES
    files = {pool: tuple(batches / name for name in names) for pool, names in BATCH_FILES.items()}
    whole = all(path.is_file() for paths in files.values() for path in paths)
    return CifarFiles(files, batches) if whole else None


def _read_batches(batches: Path, pool: str) -> Pixels:
    """Through torchvision, which verifies checksums before it unpickles."""
    import numpy as np
    from torchvision.datasets import CIFAR10

    try:
        dataset = CIFAR10(root=str(batches.parent), train=pool == "train", download=False)
    except RuntimeError as error:
        raise DataError(
            f"'{_wrong_batch(batches)}' is missing or has not the checksum that torchvision expects; fetch it again.",
            code="checksum",
        ) from error
    return Pixels(np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2)), np.asarray(dataset.targets, dtype=np.int64))


def _wrong_batch(batches: Path) -> Path:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    expected = {**dict(CIFAR10.train_list + CIFAR10.test_list), CIFAR10.meta["filename"]: CIFAR10.meta["md5"]}
    wrong = (name for name, md5 in expected.items() if not check_integrity(batches / name, md5))
    return batches / next(wrong, "")


CIFAR10 = ImageTask(
    # Of JPEG at quality 75: scores on it are a little lower, and no others are mixed with them.
    replace(ten_classes("cifar10", "CIFAR-10", Image(3, 32, 32)), copies={"955a793f275df35d3812": "JPEG"}),
    source=CifarSource(),
    partition=OfficialTest(every=10),
    augment="crop-flip",
)
