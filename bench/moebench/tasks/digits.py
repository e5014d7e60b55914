"""The 8 x 8 handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.tasks.base import Image
from moebench.tasks.image_task import ImageTask, equal_classes
from moebench.tasks.partition import ThreeWay

if TYPE_CHECKING:
    from moebench.tasks.pixels import Pixels


@dataclass(frozen=True)
class DigitsSource:
    """1,797 images of the UCI optical digits, pixels 0 to 16, in one pool."""

    pools: tuple[str, ...] = ("all",)

    def read(self, pool: str, data_dir: Path | None) -> Pixels:
        """All images; ``data_dir`` is not used."""
        return _digits()

    def is_original(self, pools: Mapping[str, Pixels], data_dir: Path | None) -> bool:
        """scikit-learn brings them."""
        return True

    def fingerprint(self, data_dir: Path | None) -> str:
        """A constant: nothing is read from where a user could change it."""
        return "embedded"


@cache
def _digits() -> Pixels:
    """Parsed once: a run asks for them for every part."""
    from sklearn.datasets import load_digits

    from moebench.tasks.pixels import Pixels

    bunch = load_digits()
    return Pixels(bunch.images.astype("uint8")[:, None], bunch.target.astype("int64"))


DIGITS = ImageTask(
    equal_classes("digits", "digits", Image(1, 8, 8)),
    source=DigitsSource(),
    partition=ThreeWay(seed=0),
)
