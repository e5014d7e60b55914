"""How the rows of a data set are divided into train, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Partition(Protocol):
    """Divides one pool of rows; a part that it does not name is a pool of its own (an official test set)."""

    @property
    def name(self) -> str:
        """The division in words: part of a run's identity."""
        ...

    @property
    def pool(self) -> str:
        """The pool of rows that is divided."""
        ...

    def rows(self, labels_N: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """Rows of the pool by part; ascending and disjoint."""
        ...


@dataclass(frozen=True)
class ThreeWay:
    """60 % train, 20 % validation, 20 % test of one pool, each class in proportion."""

    seed: int = 0
    pool: str = "all"

    @property
    def name(self) -> str:
        """Such as ``stratified 60/20/20 seed 0``."""
        return f"stratified 60/20/20 seed {self.seed}"

    def rows(self, labels_N: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """Test is drawn first, validation from what remains."""
        fifth = -(-len(labels_N) // 5)
        rest, test = stratified(labels_N, fifth, self.seed)
        train, validation = stratified(labels_N[rest], fifth, self.seed)
        return {"train": rest[train], "validation": rest[validation], "test": test}


@dataclass(frozen=True)
class OfficialTest:
    """The test set that comes with the data; validation is one in ``every`` rows of its training set.

    keep: train on so many of the rest alone (None: on all), each class in proportion.
    """

    every: int
    seed: int = 0
    pool: str = "train"
    keep: int | None = None

    @property
    def name(self) -> str:
        """Such as ``official test; validation 1/6 of train, stratified, seed 0``."""
        kept = "" if self.keep is None else f"; {self.keep:,} of the rest"
        return f"official test; validation 1/{self.every} of train{kept}, stratified, seed {self.seed}"

    def rows(self, labels_N: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        """Train and validation; labels of the official test are never asked for."""
        train, validation = stratified(labels_N, len(labels_N) // self.every, self.seed)
        if self.keep is not None:
            _, drawn = stratified(labels_N[train], self.keep, self.seed)
            train = train[drawn]
        return {"train": train, "validation": validation}


def stratified(labels_N: NDArray[np.int64], size: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows that stay and ``size`` rows drawn, each class in proportion (largest remainders), both ascending.

    Drawn with NumPy's RandomState, whose stream is frozen for good: scikit-learn's splitters make no such
    promise, and a split that changes with a version would change results under one identity.
    """
    import numpy as np

    rng = np.random.RandomState(seed)
    classes, counts = np.unique(labels_N, return_counts=True)
    quota, remainder = np.divmod(counts * size, max(len(labels_N), 1))
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    drawn = np.zeros(len(labels_N), dtype=bool)
    for label, k in zip(classes, quota, strict=True):
        drawn[rng.permutation(np.flatnonzero(labels_N == label))[:k]] = True
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)
