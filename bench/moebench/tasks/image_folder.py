"""A directory of images: ``train`` and ``val``, and in each a folder for every class, as ImageNet is had.

Too many to hold decoded: training is a stream, whose images are read as they are drawn.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from moebench.errors import DataError
from moebench.tasks.base import Image, Part, Split, Stream
from moebench.tasks.image_task import equal_classes
from moebench.tasks.partition import stratified
from moebench.tasks.places import missing, roots
from moebench.tasks.targets import Classes

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray
    from torch import Generator, Tensor

IMAGENET = 1000
ENDINGS = frozenset({".jpeg", ".jpg", ".png", ".webp"})
FORMATS = ("JPEG", "PNG", "WEBP")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels between 0 and 1, by channel: what everyone uses, whatever the images are."""

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
"""A training crop has so much of the image's area, and such a ratio of width to height."""

CENTRE = 224 / 256
"""A test crop is the square in the middle whose side is this share of the shorter side."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class _Found:
    """The images of ``train`` or ``val``, class after class in the order of their folders' names."""

    paths: tuple[str, ...]
    labels_N: NDArray[np.int64]


class ImageFolderTask(Classes):
    """Classification of the images in a directory, each cut and resized to ``size`` x ``size``.

    folders: searched below the data directory, before itself. classes: so many folders must be there. Training draws
    images with replacement, cuts a random window (8 to 100 % of the area) and mirrors half of them. Validation and test
    are the two halves of ``val``, each class in proportion, of which the middle is seen. Their images are held in
    memory, 12 bytes a pixel.
    """

    split = "train drawn with replacement; val in halves, stratified, seed 0"

    def __init__(self, name: str, label: str, *, size: int, classes: int, folders: Sequence[str] = ()) -> None:
        self.size, self.classes, self.folders = size, classes, (*folders, ".")
        self.info = equal_classes(name, label, Image(3, size, size), classes)

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """A stream to train on; DataError where the directory is missing or an image does not decode."""
        self.check_part(part)
        root = self._root(data_dir)
        if part == "train":
            return Stream(partial(self._draw, self._images(root / "train")))
        found = self._images(root / "val")
        halves = stratified(found.labels_N, len(found.labels_N) // 2, 0)
        rows = halves[0] if part == "validation" else halves[1]
        return self._read([found.paths[row] for row in rows], found.labels_N[rows], _centre, [False] * len(rows))

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of the name and size of every file: a million images would take long to read."""
        root = self._root(data_dir)
        return _digest(f"{path.relative_to(root)} {status.st_size}" for path, status in _files(root))

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of path, size and time of every file."""
        files = _files(self._root(data_dir))
        return _digest(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in files)

    def _root(self, data_dir: Path | None) -> Path:
        places = [root / folder for root in roots(data_dir) for folder in self.folders]
        found = next((place for place in places if (place / "train").is_dir() and (place / "val").is_dir()), None)
        if found is None:
            remedy = f"put folders 'train' and 'val', each with a folder of images for every class, into '{places[0]}'"
            raise missing(self.info.label, roots(data_dir), remedy)
        return found

    def _images(self, folder: Path) -> _Found:
        """The images of one part; :class:`DataError` unless every class has some."""
        import numpy as np

        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if len(names) != self.classes:
            raise DataError(
                f"'{folder}' has {len(names):,} folders of classes; {self.info.label} has {self.classes:,}.",
                code="folders-of-classes",
                found=len(names),
                classes=self.classes,
            )
        by_class = [[str(path) for path, _ in _files(folder / name)] for name in names]
        empty = next((name for name, paths in zip(names, by_class, strict=True) if not paths), None)
        if empty is not None:
            raise DataError(
                f"'{folder / empty}' has no image; images end with {', '.join(sorted(ENDINGS))}.",
                code="class-without-image",
                name=empty,
            )
        counts = [len(paths) for paths in by_class]
        return _Found(tuple(path for paths in by_class for path in paths), np.repeat(np.arange(len(names)), counts))

    def _draw(self, found: _Found, count: int, generator: Generator) -> Split:
        """A fresh batch: which images, where each is cut and whether it is mirrored come from the generator alone."""
        import torch

        rows = torch.randint(len(found.paths), (count,), generator=generator).tolist()
        chance_N4 = torch.rand(count, 4, generator=generator).tolist()
        cuts = [partial(_random, chance=chance) for chance in chance_N4]
        mirrored = (torch.rand(count, generator=generator) < 0.5).tolist()
        return self._read([found.paths[row] for row in rows], found.labels_N[rows], cuts, mirrored)

    def _read(
        self,
        paths: Sequence[str],
        labels_N: NDArray[np.int64],
        cut: Callable[[int, int], Box] | Sequence[Callable[[int, int], Box]],
        mirrored: Sequence[bool],
    ) -> Split:
        """The images, cut, resized and normalised with :data:`MEAN` and :data:`STD`; Pillow decodes them in threads."""
        import torch

        x_NCHW = torch.empty(len(paths), 3, self.size, self.size)

        def decode(row: int) -> None:
            x_NCHW[row] = _decoded(paths[row], cut if callable(cut) else cut[row], self.size, mirrored[row])

        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            list(pool.map(decode, range(len(paths))))
        return Split(x_NCHW, {"class": torch.from_numpy(labels_N.astype("int64"))})


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The images below a folder, in the order of their names."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(Path(entry.path))
        elif Path(entry.name).suffix.lower() in ENDINGS:
            yield Path(entry.path), entry.stat()


def _digest(lines: Iterator[str]) -> str:
    sha = hashlib.sha256()
    for line in lines:
        sha.update(f"{line}\n".encode())
    return sha.hexdigest()[:20]


def _decoded(path: str, cut: Callable[[int, int], Box], size: int, mirrored: bool) -> Tensor:
    """x_CHW of one image; :class:`DataError` that names it where it does not decode."""
    import numpy as np
    import PIL.Image
    import torch

    try:
        with PIL.Image.open(path, formats=FORMATS) as picture:
            picture.draft("RGB", (2 * size, 2 * size))  # a JPEG decodes to the nearest half, quarter or eighth above it
            pixels = _resized(picture.convert("RGB"), cut, size)
    # Pillow raises what its decoders stumble over: OSError, SyntaxError, struct.error, zlib.error and more.
    except Exception as error:
        raise DataError(f"'{path}' does not decode ({error}); fetch it again.", code="image-undecodable") from error
    x_HWC = torch.from_numpy(np.array(pixels, dtype=np.float32)).div_(255)
    x_HWC = (x_HWC - torch.tensor(MEAN)) / torch.tensor(STD)
    return (x_HWC.flip(1) if mirrored else x_HWC).permute(2, 0, 1)


def _resized(picture: PIL.Image.Image, cut: Callable[[int, int], Box], size: int) -> PIL.Image.Image:
    import PIL.Image

    box = cut(picture.width, picture.height)
    return picture.resize((size, size), PIL.Image.Resampling.BILINEAR, box=box)


def _centre(width: int, height: int) -> Box:
    """The square in the middle."""
    side = CENTRE * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _random(width: int, height: int, chance: Sequence[float]) -> Box:
    """A window of random area and ratio at a random place, by four numbers between 0 and 1; as wide or as high as the
    image where it would be wider or higher.
    """
    area = (AREA[0] + chance[0] * (AREA[1] - AREA[0])) * width * height
    low, high = map(math.log, ASPECT)
    ratio = math.exp(low + chance[1] * (high - low))
    wide, tall = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    left, top = chance[2] * (width - wide), chance[3] * (height - tall)
    return left, top, left + wide, top + tall


IMAGE_FOLDER = ImageFolderTask(
    "image_folder",
    f"folders of {IMAGENET:,} classes",
    size=224,
    classes=IMAGENET,
    folders=("image_folder", "imagenet", "ImageNet"),
)
