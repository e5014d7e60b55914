"""Peak memory of a stretch of work, and what a model holds."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import torch
from torch import nn

MIB = 2**20


class PeakMemory:
    """``with PeakMemory(device) as peak: ...``; then ``peak.mib``: by how much memory grew at most, on CUDA what torch
    had allocated, on the CPU the process; what it had freed before is first given back to the system, or the work would
    fit into that unseen. None where the system does not report it.
    """

    mib: float | None = None

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: int | None = None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.zeros(1, device=self._device)  # there are no statistics before CUDA has started
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        elif _reset_peak():
            self._before = _status_bytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            return
        if self._device.type == "cuda":
            self.mib = (torch.cuda.max_memory_allocated(self._device) - self._before) / MIB
            return
        peak = _status_bytes("VmHWM")
        self.mib = None if peak is None else max(0, peak - self._before) / MIB


def held_mib(model: nn.Module) -> float:
    """Parameters and buffers of a model, in MiB."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) / MIB


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
