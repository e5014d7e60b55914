"""The status of a run that failed or exceeded a limit, and what its record holds beside its results."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from moebench import machine
from moebench.errors import BudgetError, LayerError, MoebenchError, PluginError
from moebench.frames import raised
from moebench.plugins.backends import switches_set
from moebench.plugins.find import find_variant
from moebench.plugins.identity import packages_of
from moebench.records import Record, Status
from moebench.runner.job import Job
from moebench.text import told
from moebench.training.device import memory_now

TAIL = 2000
"""Characters of a dead run's output that its record keeps."""

Verdict = tuple[Status, str]
"""(status, reason)."""

REASON = 500
"""Characters of an exception that a record keeps."""

NO_HOST_MEMORY = "DefaultCPUAllocator: can't allocate memory"

OUT_OF_MEMORY = (
    NO_HOST_MEMORY,
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
"""What an error that is not torch's own for it says where memory did not do."""


class RankError(Exception):
    """A run cannot go on because another of its ranks failed, with this status and reason."""

    def __init__(self, rank: int, status: Status, reason: str) -> None:
        super().__init__(f"rank {rank}: {reason}")
        self.status: Status = status
        self.reason = reason


def status_of(error: BaseException) -> tuple[Status, str]:
    """The status that an exception means for its cell, and the reason in one line."""
    import torch

    if isinstance(error, RankError):
        return error.status, str(error)
    reason = told(error, REASON, whole=True).partition(": ")[2]
    said = raised(error, length=REASON, whole=True)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in said for words in OUT_OF_MEMORY):
        of_host = isinstance(error, MemoryError) or NO_HOST_MEMORY in said
        return "oom", f"out of memory{'' if of_host else memory_now()}; a smaller --micro-batch needs less."
    if isinstance(error, BudgetError):
        return "over_budget", reason
    if isinstance(error, LayerError):
        return "error", reason
    if isinstance(error, PluginError):
        return "not_installed", reason
    return "error", said


def provenance(job: Job, device: str, started: datetime, seconds: float) -> dict[str, Any]:
    """Of a run that lasted so many seconds. device: its name."""
    return {
        "device": device,
        "device_type": job.device.partition(":")[0],
        "versions": machine.versions(),
        "backend": job.backend or "auto",
        "backend_switches": switches_set(job.backend),
        "suite": job.suite,
        "row": job.row,
        **({"code": job.code} if job.code else {}),
        **({"packages": packages} if (packages := _packages(job)) else {}),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "machine": machine.cpu_model(),
    }


def _packages(job: Job) -> dict[str, str]:
    """What the variant's code imports beside the frameworks, with versions."""
    if job.pickled is not None:
        return {}
    try:
        return packages_of(find_variant(job.spec))
    except MoebenchError:
        return {}


def failed(job: Job, status: Status, reason: str, output: str = "") -> Record:
    """The record of a job whose process left none. output: the end of what it printed."""
    return Record(
        identity=job.cell.identity,
        cell=job.cell.to_json(),
        status=status,
        reason=reason,
        details={"output_tail": output} if output else {},
        provenance={"suite": job.suite, "row": job.row, "versions": machine.versions()},
    )


def exit_words(code: int | None) -> tuple[Status, str]:
    """The status for a process that ended with such a code and left no result, and words for how it ended."""
    if code == -9:
        return "oom", "was killed, most likely for lack of memory"
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return "error", f"ended with {how}"


def after_exit(job: Job, exitcode: int | None, log: Path, verdict: Verdict | None) -> Record:
    """The record of a run that left none. verdict: of the limit that it was ended by."""
    tail = _tail(log)
    if verdict is None:
        status, words = exit_words(exitcode)
        last = tail.splitlines()[-1] if tail else "it printed nothing"
        verdict = status, f"the process {words} ({last})."
    return failed(job, *verdict, output=tail)


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4 * TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return text.strip()[-TAIL:]
