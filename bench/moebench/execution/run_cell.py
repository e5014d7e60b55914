"""Run one cell of any kind in this process, and write its record whatever happens."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import torch

from moebench import machine
from moebench.execution.job import Job
from moebench.execution.measure_cell import measure
from moebench.execution.statuses import status_of
from moebench.execution.train_cell import train_and_score
from moebench.heap import keep_freed_memory
from moebench.plugins.backends import switches_set
from moebench.runs import Record, Store
from moebench.training.device import device_name


def run_cell(job: Job) -> Record:
    """The record of a trial, final or derived cell; written to the job's results before it returns."""
    started, clock = datetime.now(UTC), time.perf_counter()
    device = torch.device(job.device)
    torch.set_num_threads(job.cell.threads)
    keep_freed_memory()
    store = Store(job.results)
    try:
        body = (measure if job.cell.kind == "derived" else train_and_score)(job, device, store)
    except Exception as error:
        status, reason = status_of(error)
        body = {"status": status, "reason": reason}
    record = Record(
        identity=job.cell.identity,
        cell=job.cell.to_json(),
        provenance=_provenance(job, device, started, time.perf_counter() - clock),
        **body,
    )
    store.put(record)
    return record


def _provenance(job: Job, device: torch.device, started: datetime, seconds: float) -> dict[str, Any]:
    """What may differ between two runs of one cell."""
    return {
        "device": device_name(device),
        "device_type": device.type,
        "versions": machine.versions(),
        "backend": job.backend or "auto",
        "backend_switches": switches_set(job.backend),
        "suite": job.suite,
        "row": job.row,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "machine": machine.cpu_model(),
    }
