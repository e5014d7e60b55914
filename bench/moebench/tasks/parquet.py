"""Images in parquet files as Hugging Face ``datasets`` writes them: ``img`` {bytes, path} and a column of labels."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebench import machine
from moebench.errors import DataError
from moebench.tasks.pixels import Pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG")
CHUNK = 1000

Image = tuple[int, int, int]
"""Channels (3), height, width."""


def read_parquet(files: Sequence[Path], image: Image, classes: int, label: str = "label") -> Pixels:
    """All rows of the files, in order; ``image`` is (3, H, W), ``label`` the column of the class. DataError names the
    file that is damaged.
    """
    import numpy as np

    _check_shards(files)
    parts = [_read_file(path, image, classes, label) for path in files]
    return Pixels(
        np.concatenate([part.images_NCHW for part in parts]),
        np.concatenate([part.labels_N for part in parts]),
    )


def _check_shards(files: Sequence[Path]) -> None:
    """DataError where names like ``train-00000-of-00002`` say that a file is missing."""
    for path in files:
        match = re.search(r"-of-(\d+)\.parquet$", path.name)
        if match and int(match[1]) != len(files):
            raise DataError(
                f"'{path}' is by its name one of {int(match[1])} files, but {len(files)} lie in "
                f"'{path.parent}'; put all of them there and no others.",
                code="shards-missing",
            )


def _read_file(path: Path, image: Image, classes: int, label: str) -> Pixels:
    contents, labels_N = _columns(path, label)
    whole = labels_N.dtype.kind in "iu" and len(labels_N) > 0
    if not whole or labels_N.min() < 0 or labels_N.max() >= classes:
        raise DataError(
            f"'{path}' should hold a label from 0 to {classes - 1} in every row, and some rows.", code="parquet-labels"
        )
    return Pixels(_decode(path, contents, image), labels_N.astype("int64"))


def _columns(path: Path, label: str) -> tuple[list[bytes | None], NDArray[Any]]:
    # ArrowInvalid is a ValueError, ArrowIOError an OSError; a field that is missing is a KeyError.
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=["img", label])
        images = table.column("img").combine_chunks().field("bytes")
        return images.to_pylist(), table.column(label).to_numpy()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, label, error) from error


def _damaged(path: Path, label: str, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return DataError(
        f"'{path}' is not a whole parquet file with columns img {{bytes, path}} and {label} ({reason}); "
        "fetch it again.",
        code="not-parquet",
    )


def _decode(path: Path, contents: Sequence[bytes | None], image: Image) -> NDArray[np.uint8]:
    import numpy as np

    images_NCHW = np.empty((len(contents), *image), dtype=np.uint8)

    def decode_from(start: int) -> None:
        for row in range(start, min(start + CHUNK, len(contents))):
            images_NCHW[row] = _decode_one(path, row, contents[row], image).transpose(2, 0, 1)

    # A chunk for each task: fifty thousand tasks would cost more than what they do.
    with ThreadPoolExecutor(min(8, machine.cores())) as pool:
        list(pool.map(decode_from, range(0, len(contents), CHUNK)))
    return images_NCHW


def _decode_one(path: Path, row: int, content: bytes | None, image: Image) -> NDArray[np.uint8]:
    import numpy as np
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(content or b""), formats=FORMATS) as picture:
            if picture.size != (image[2], image[1]):
                raise ValueError(f"it is {picture.width} x {picture.height}, not {image[2]} x {image[1]}")
            return np.asarray(picture.convert("RGB"))
    # Pillow raises what its decoders stumble over: OSError, SyntaxError, struct.error, zlib.error and more.
    except Exception as error:
        reason = str(error) if content else "it is empty"
        raise DataError(
            f"image {row} of '{path}' does not decode ({reason}); fetch it again.", code="image-damaged"
        ) from error
