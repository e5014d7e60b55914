"""The length of a Gaussian vector: what one soft expert cannot represent (arXiv 2409.00879, section 3, appendix C)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, overload

from moebench.errors import UnknownNameError
from moebench.tasks.base import Part, TaskInfo

if TYPE_CHECKING:
    from torch import Generator

    from moebench.tasks.base import Split, Stream

ENTRIES = 10
SIGMA = 5.0
"""The published curves are those of a standard deviation of 5; the "N(0, 5I)" in print read as a variance is not."""

VARIANCE = 12.173057
"""Var ||x||_2 = sigma^2 (n - 2 (Gamma((n + 1) / 2) / Gamma(n / 2))^2): the error of the best constant."""

HELD_OUT = 100_000
SEEDS = {"validation": 1, "test": 2}


INFO = TaskInfo(
    name="norm",
    image=(1, 1, ENTRIES),
    classes=1,
    objective="regression",
    metric="mse",
    unit="squared",
    higher_is_better=False,
    floor=VARIANCE,
    label="norm of a Gaussian vector",
)


@dataclass(frozen=True)
class NormTask:
    """x in R^10 with entries N(0, sigma^2); the target is ||x||_2; a fresh batch every step, held-out sets fixed."""

    info: TaskInfo = INFO
    split: str = f"fresh batches; {HELD_OUT} held out, seeds 1 and 2"
    augment: str | None = None

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """Vectors as images of one row; ``data_dir`` is not used."""
        import torch

        from moebench.tasks.base import Stream

        if part not in get_args(Part):
            raise UnknownNameError("part", part, get_args(Part), where="task 'norm'")
        if part == "train":
            return Stream(draw)
        return draw(HELD_OUT, torch.Generator().manual_seed(SEEDS[part]))

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of what the data are drawn by."""
        return hashlib.sha256(f"norm {ENTRIES} {SIGMA} {self.split}".encode()).hexdigest()[:20]

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """A constant: nothing is read from where a user could change it."""
        return "drawn"

    def label(self, data_dir: Path | None = None) -> str:
        """As ``info.label``."""
        return self.info.label


def draw(count: int, generator: Generator) -> Split:
    """So many vectors (N, 1, 1, 10) and their norms (N,)."""
    import torch

    from moebench.tasks.base import Split

    x_NX = SIGMA * torch.randn(count, ENTRIES, generator=generator)
    return Split(x_NX.view(count, 1, 1, ENTRIES), torch.linalg.vector_norm(x_NX, dim=1))
