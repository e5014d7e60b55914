"""Gaussian tokens of the shape that a ViT-B/16 has, to time layers on; there is nothing to learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from moebench.errors import UsageError
from moebench.tasks.base import Part, Split, Task, TaskInfo, Values, Vectors, digest_of

if TYPE_CHECKING:
    from torch import Tensor

INPUTS = 100
TOKENS, DIM = 196, 768


class NoiseTask(Task):
    """Inputs x_NTD (100, 196, 768), entries N(0, 1), the same in every part; no targets."""

    info = TaskInfo(name="noise", inputs=Vectors(TOKENS, DIM), label="Gaussian tokens")
    split = "none"

    def load(self, part: Part, data_dir: Path | None = None) -> Split:
        """The tokens; neither argument matters."""
        import torch

        return Split(torch.randn(INPUTS, TOKENS, DIM, generator=torch.Generator().manual_seed(0)), {})

    def loss(self, outputs: Values, batch: Split) -> Tensor:
        """:class:`UsageError`."""
        self._refuse()

    def scores(self, outputs: Values, batch: Split) -> Values:
        """:class:`UsageError`."""
        self._refuse()

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of what the data are drawn by; published records name these."""
        return digest_of(f"noise {(1, TOKENS, DIM)} {INPUTS}")

    def _refuse(self) -> NoReturn:
        raise UsageError(f"task '{self.info.name}' has nothing to learn; it only times layers.", code="task-only-times")
