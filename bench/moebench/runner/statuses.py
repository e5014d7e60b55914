"""Which status an exception means for its cell."""

from __future__ import annotations

import torch

from moebench.errors import BudgetError, PluginError
from moebench.records import Status

CPU_OUT_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory"


class RankError(Exception):
    """A run cannot go on because another of its ranks failed, with this status and reason."""

    def __init__(self, rank: int, status: Status, reason: str) -> None:
        super().__init__(f"rank {rank}: {reason}")
        self.status: Status = status
        self.reason = reason


def status_of(error: BaseException) -> tuple[Status, str]:
    """(status, reason in one line)."""
    if isinstance(error, RankError):
        return error.status, str(error)
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or CPU_OUT_OF_MEMORY in reason:
        return "oom", "out of memory; a smaller --micro-batch needs less."
    if isinstance(error, BudgetError):
        return "over_budget", reason
    if isinstance(error, PluginError):
        return "not_installed", reason
    return "error", f"{type(error).__name__}: {reason}"[:500]
