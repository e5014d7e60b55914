"""The length of a Gaussian vector: what one soft expert cannot represent (arXiv 2409.00879, section 3, appendix C)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from moebench.tasks.base import Features, Part, Split, Stream, TaskInfo, digest_of
from moebench.tasks.targets import Numbers, mean_squared_error

if TYPE_CHECKING:
    from torch import Generator

ENTRIES = 10
SIGMA = 5.0
"""The published curves are those of a standard deviation of 5; the "N(0, 5I)" in print read as a variance is not."""

VARIANCE = 12.173057
"""Var ||x||_2 = sigma^2 (n - 2 (Gamma((n + 1) / 2) / Gamma(n / 2))^2): the error of the best constant."""

HELD_OUT = 100_000
SEEDS = {"validation": 1, "test": 2}


class NormTask(Numbers):
    """x_NF in R^10 with entries N(0, sigma^2); the target is ||x||_2; a fresh batch every step, held-out sets fixed."""

    info = TaskInfo(
        name="norm",
        inputs=Features(ENTRIES),
        targets={"norm": 1},
        headline=mean_squared_error(floor=VARIANCE),
        label="norm of a Gaussian vector",
    )
    split = f"fresh batches; {HELD_OUT} held out, seeds 1 and 2"
    evaluation_batch = 4096

    @overload
    def load(self, part: Literal["train"], data_dir: Path | None = None) -> Stream: ...
    @overload
    def load(self, part: Literal["validation", "test"], data_dir: Path | None = None) -> Split: ...
    def load(self, part: Part, data_dir: Path | None = None) -> Split | Stream:
        """``data_dir`` is not used."""
        import torch

        self.check_part(part)
        return Stream(draw) if part == "train" else draw(HELD_OUT, torch.Generator().manual_seed(SEEDS[part]))

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of what the data are drawn by."""
        return digest_of(f"norm {ENTRIES} {SIGMA} {self.split}")


def draw(count: int, generator: Generator) -> Split:
    """So many vectors x_NF and their norms (N,)."""
    import torch

    x_NF = SIGMA * torch.randn(count, ENTRIES, generator=generator)
    return Split(x_NF, {"norm": torch.linalg.vector_norm(x_NF, dim=1)})
