"""Peak memory of a stretch of work."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import torch

MIB = 2**20


class PeakMemory:
    """``with PeakMemory(device) as peak: ...``; then ``peak.mib``: on CUDA what torch allocated, on the CPU by how
    much the process grew; what it had freed before is first given back to the system, or the work would fit into
    that unseen. None where the system does not report it.
    """

    mib: float | None = None

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: int | None = None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = 0
        elif _reset_peak():
            self._before = _status_bytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            return
        if self._device.type == "cuda":
            self.mib = torch.cuda.max_memory_allocated(self._device) / MIB
            return
        peak = _status_bytes("VmHWM")
        self.mib = None if peak is None else max(0, peak - self._before) / MIB


def _reset_peak() -> bool:
    """Give back to Linux what was freed, and let it forget the peak so far."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other C libraries keep little
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status_bytes(key: str) -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
