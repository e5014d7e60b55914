"""Which device a run uses, and how it is named."""

from __future__ import annotations

import torch

from moebench.errors import DeviceError
from moebench.machine import cpu_model


def choose_device(asked: str | None) -> torch.device:
    """The one asked for, or CUDA where there is one, else the CPU; :class:`DeviceError` if it has none."""
    if asked is None or asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise DeviceError(f"'{asked}' is not a device; use cpu, cuda or cuda:N.") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise DeviceError(f"'{asked}' is not supported; use cpu, cuda or cuda:N.")
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        have = f"{count or 'no'} CUDA device{'s' * (count > 1)}"
        raise DeviceError(f"there is no device '{asked}': this machine has {have}; use --device cpu or leave it out.")
    return device


def device_name(device: torch.device) -> str:
    """The device as a person would name it, for provenance and for the latency session."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({cpu_model()})"


def default_precision(kind: str) -> str:
    """bf16 autocast on CUDA, fp32 on the CPU."""
    return "bf16" if kind == "cuda" else "fp32"
