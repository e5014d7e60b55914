"""The model that is measured, and where its data are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from moebench.contract import Traits
from moebench.hosts.host import Host
from moebench.tasks import Split, Task


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode on its device, with its variant's traits, its task and the precision it had.

    scores: those of the run that it comes from; empty for initial weights.
    """

    model: Host
    traits: Traits
    task: Task
    data_dir: Path | None
    device: torch.device
    precision: str
    scores: Mapping[str, float | None]

    def data(self, part: Literal["validation", "test"]) -> Split:
        """One part, on the device."""
        split = self.task.load(part, self.data_dir)
        return Split(split.inputs.to(self.device), split.targets.to(self.device))
