"""Gaussian tokens of the shape that a ViT-B/16 has, to time layers on; there is nothing to learn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.tasks.base import Part, TaskInfo

if TYPE_CHECKING:
    from moebench.tasks.base import Split

INPUTS = 100
TOKENS, DIM = 196, 768


INFO = TaskInfo(
    name="noise",
    image=(1, TOKENS, DIM),
    classes=1,
    objective="nothing",
    metric="none",
    unit="none",
    floor=0.0,
    label="Gaussian tokens",
)


@dataclass(frozen=True)
class NoiseTask:
    """Inputs (100, 1, 196, 768), entries N(0, 1), the same in every part; all targets are 0."""

    info: TaskInfo = INFO
    split: str = "none"
    augment: str | None = None

    def load(self, part: Part, data_dir: Path | None = None) -> Split:
        """The tokens; neither argument matters."""
        import torch

        from moebench.tasks.base import Split

        x_NCHW = torch.randn(INPUTS, 1, TOKENS, DIM, generator=torch.Generator().manual_seed(0))
        return Split(x_NCHW, torch.zeros(INPUTS, dtype=torch.int64))

    def digest(self, data_dir: Path | None = None) -> str:
        """Twenty hexadecimal digits of what the data are drawn by."""
        return hashlib.sha256(f"noise {self.info.image} {INPUTS}".encode()).hexdigest()[:20]

    def fingerprint(self, data_dir: Path | None = None) -> str:
        """A constant: nothing is read from where a user could change it."""
        return "drawn"

    def label(self, data_dir: Path | None = None) -> str:
        """As ``info.label``."""
        return self.info.label
