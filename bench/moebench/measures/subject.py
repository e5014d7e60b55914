"""The model that is measured, and where its data are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from moebench.errors import UsageError
from moebench.hosts.host import Host
from moebench.tasks import Part, Split, Stream, Task, load_part


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode on its device, its task and the precision it had.

    scores: those of the run that it comes from; empty for initial weights. seed: that run's.
    """

    model: Host
    task: Task
    data_dir: Path | None
    device: torch.device
    precision: str
    scores: Mapping[str, float | None]
    seed: int = 0

    def data(self, part: Part) -> Split:
        """One part, on the device; UsageError where training data are a stream that never repeats."""
        split = load_part(self.task, part, self.data_dir)
        if isinstance(split, Stream):
            name = self.task.info.name
            raise UsageError(
                f"task '{name}' draws new training data at every step, so none can be evaluated again.",
                code="no-fixed-training-data",
                task=name,
            )
        return split.to(self.device)
