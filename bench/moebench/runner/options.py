"""How an experiment is run; nothing here changes a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moebench.errors import UsageError

SILENCE = 1800.0
"""Seconds without a sign of life after which a run counts as hung: training shows one every second."""


@dataclass(frozen=True)
class RunLimits:
    """timeout: the longest a run may take, in seconds (None: no limit). silence: the longest it may show nothing."""

    timeout: float | None = None
    silence: float = SILENCE


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how runs are executed.

    executor: where runs go; executor_options: those of one executor (``--executor-option NAME=VALUE``). workers: runs
    at a time (None: as many as fit). limits: of one run. checkpoint_seconds: of training between two checkpoints.
    ranks: processes that train one model together, each on a GPU of its own where there are GPUs.
    check: also check rows of other authors against the contract. seconds: within which all must end that is begun.
    """

    results: Path
    executor: str = "local"
    executor_options: Mapping[str, str] = field(default_factory=dict)
    workers: int | None = None
    limits: RunLimits = field(default_factory=RunLimits)
    checkpoint_seconds: float = 60.0
    ranks: int = 1
    save_weights: bool = True
    mlflow: bool = True
    check: bool = True
    seconds: float | None = None

    def check_options(self, known: Mapping[str, str]) -> None:
        """:class:`UsageError` for an option of the executor that is not ``known`` (name -> what it is)."""
        for name in self.executor_options:
            if name not in known:
                takes = "; ".join(f"{each}: {words}" for each, words in known.items()) or "none"
                raise UsageError(
                    f"executor '{self.executor}' has no option '{name}'; it takes {takes}.",
                    code="unknown-executor-option",
                    executor=self.executor,
                    name=name,
                )
