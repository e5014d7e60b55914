"""The idx format of MNIST: a magic number, the dimensions as big-endian 32-bit integers, then bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.errors import DataError

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
            f"{magic:08x}, not {content[:4].hex() or 'nothing'}); fetch it again."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"'{path}' holds {len(content) - header:,} bytes where its header announces "
            f"{math.prod(shape):,}; it is truncated or damaged, fetch it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"'{path}' is not a whole gzip file ({error}); fetch it again.") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}' ({error.strerror}).") from error
