"""Fashion-MNIST and MNIST: four idx files in one of the layouts that people have.

The idx format is a magic number, the dimensions as big-endian 32-bit integers, then bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import moebench.tasks.places as downloads
from moebench.errors import DataError
from moebench.tasks.base import Image
from moebench.tasks.image_task import TEN_CLASSES, ImageTask, equal_classes
from moebench.tasks.partition import OfficialTest
from moebench.tasks.pixels import Pixels
from moebench.tasks.places import file_fingerprint, missing, roots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file, plain or (by its ending) gzipped; DataError unless it is whole.

    The magic number is 0x00000800 + dimensions: 0x0803 for images (N, H, W), 0x0801 for labels (N,).
    """
    import numpy as np

    content = _content(path)
    header = 4 + 4 * dimensions
    magic = (UNSIGNED_BYTE << 8) + dimensions
    if len(content) < header or struct.unpack(">I", content[:4])[0] != magic:
        raise DataError(
            f"'{path}' is not an idx file of {dimensions}-dimensional bytes (it should begin with "
            f"{magic:08x}, not {content[:4].hex() or 'nothing'}); fetch it again.",
            code="not-idx",
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"'{path}' holds {len(content) - header:,} bytes where its header announces "
            f"{math.prod(shape):,}; it is truncated or damaged, fetch it again.",
            code="truncated",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"'{path}' is not a whole gzip file ({error}); fetch it again.", code="not-gzip") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}' ({error.strerror}).", code="data-unreadable") from error


FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}

# The files of these sets have the same names; their first training labels tell them apart.
FIRST_LABELS = {
    "MNIST": bytes([5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9]),
    "Fashion-MNIST": bytes([9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4]),
}


@dataclass(frozen=True)
class IdxSource:
    """folders: searched below each root, before the root itself. torchvision: its class, which downloads.

    packaged: where an operating system's package ``package`` puts the files. checksums: MD5 of the original's four
    files, unpacked, in the order of ``FILES``.
    """

    title: str
    folders: tuple[str, ...]
    torchvision: str
    image: tuple[int, int, int]
    classes: int
    packaged: tuple[Path, ...] = ()
    package: str = ""
    pools: tuple[str, ...] = ("train", "test")
    checksums: tuple[str, ...] = ()

    def read(self, pool: str, data_dir: Path | None) -> Pixels:
        """Images and labels of ``train`` or ``test``, which must agree in number."""
        files = self.locate(data_dir) or self._download(data_dir)
        images_NHW = read_idx(files[pool, "images"], 3)
        labels_N = read_idx(files[pool, "labels"], 1)
        self._check(files[pool, "images"], files[pool, "labels"], images_NHW, labels_N)
        if pool == "train":
            self._check_identity(files[pool, "labels"], labels_N)
        return Pixels(images_NHW[:, None], labels_N.astype("int64"))

    def is_original(self, pools: Mapping[str, Pixels], data_dir: Path | None) -> bool:
        """Whether the files, unpacked, have the original's checksums."""
        return [each for pool in self.pools for each in _checksums(pools[pool])] == list(self.checksums)

    def fingerprint(self, data_dir: Path | None) -> str:
        """Digest of path, size and time of the four files."""
        files = self.locate(data_dir)
        if files is None:
            raise missing(self.title, self._searched(data_dir), self._remedy(data_dir))
        return file_fingerprint(files.values())

    def locate(self, data_dir: Path | None) -> dict[tuple[str, str], Path] | None:
        """The four files by pool and kind, from the first folder that has them all."""
        for folder in self._folders(data_dir):
            found = {key: _plain_or_gz(folder, name) for key, name in FILES.items()}
            files = {key: path for key, path in found.items() if path is not None}
            if len(files) == len(FILES):
                return files
        return None

    def _folders(self, data_dir: Path | None) -> Iterator[Path]:
        for root in self._searched(data_dir):
            yield from (root / folder for folder in (*self.folders, "."))

    def _searched(self, data_dir: Path | None) -> tuple[Path, ...]:
        return roots(data_dir) + (self.packaged if data_dir is None else ())

    def _download(self, data_dir: Path | None) -> dict[tuple[str, str], Path]:
        reason = downloads.download(self.torchvision, f"{self.torchvision}/raw", roots(data_dir)[0])
        files = self.locate(data_dir)
        if files is None:
            raise missing(self.title, self._searched(data_dir), self._remedy(data_dir), reason)
        return files

    def _remedy(self, data_dir: Path | None) -> str:
        for folder in self._folders(data_dir):
            absent = [name for name in FILES.values() if _plain_or_gz(folder, name) is None]
            if len(absent) < len(FILES):
                names = ", ".join(f"{name}.gz" for name in absent)
                return f"put the missing {names} beside the others in '{folder}'"
        names = ", ".join(f"{name}.gz" for name in FILES.values())
        apt = f" or install Debian's package {self.package}" if self.package and data_dir is None else ""
        return f"put {names} (or the same without .gz) into '{roots(data_dir)[0] / self.folders[0]}'{apt}"

    def _check(self, images: Path, labels: Path, images_NHW: NDArray[np.uint8], labels_N: NDArray[np.uint8]) -> None:
        if len(images_NHW) != len(labels_N):
            raise DataError(
                f"'{images}' holds {len(images_NHW):,} images and '{labels}' {len(labels_N):,} labels; "
                "fetch both again.",
                code="images-without-labels",
            )
        if images_NHW.shape[1:] != self.image[1:]:
            size = " x ".join(map(str, images_NHW.shape[1:]))
            raise DataError(
                f"the images in '{images}' are {size}; {self.title} has {self.image[1]} x {self.image[2]}.",
                code="image-size",
            )
        if len(labels_N) == 0 or labels_N.max() >= self.classes:
            raise DataError(
                f"'{labels}' should hold labels from 0 to {self.classes - 1}, and at least one.", code="label-range"
            )

    def _check_identity(self, path: Path, labels_N: NDArray[np.uint8]) -> None:
        for title, first in FIRST_LABELS.items():
            if title != self.title and labels_N[: len(first)].tobytes() == first:
                raise DataError(
                    f"'{path}' is of {title}, whose files have the same names as those of {self.title}; "
                    f"put the latter into a folder '{self.folders[0]}' beside it.",
                    code="other-data-set",
                )


def _checksums(pixels: Pixels) -> Iterator[str]:
    """MD5 of the idx files of images and labels that hold these."""
    for array in (pixels.images_NCHW[:, 0], pixels.labels_N.astype("uint8")):
        header = struct.pack(f">I{array.ndim}I", (UNSIGNED_BYTE << 8) + array.ndim, *array.shape)
        yield hashlib.md5(header + array.tobytes(), usedforsecurity=False).hexdigest()


def _plain_or_gz(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


FASHION_MNIST = ImageTask(
    equal_classes("fashion_mnist", "Fashion-MNIST", Image(1, 28, 28)),
    source=IdxSource(
        title="Fashion-MNIST",
        folders=("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
        torchvision="FashionMNIST",
        image=(1, 28, 28),
        classes=TEN_CLASSES,
        checksums=(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        packaged=(Path("/usr/share/datasets/fashion-mnist"),),
        package="dataset-fashion-mnist",
    ),
    partition=OfficialTest(every=6),
)

# Few enough to be memorised, so that the gap between training and test data is what is measured.
FASHION_MNIST_2K = replace(
    FASHION_MNIST,
    info=replace(FASHION_MNIST.info, name="fashion_mnist_2k", label="Fashion-MNIST, 2,000 to train on"),
    partition=OfficialTest(every=6, keep=2_000),
)

MNIST = ImageTask(
    equal_classes("mnist", "MNIST", Image(1, 28, 28)),
    source=IdxSource(
        title="MNIST",
        folders=("mnist", "MNIST/raw"),
        torchvision="MNIST",
        image=(1, 28, 28),
        classes=TEN_CLASSES,
        checksums=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    partition=OfficialTest(every=6),
)
