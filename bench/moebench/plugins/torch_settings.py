"""Global settings of torch that the harness decides: read them, and put them back after another author's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Global:
    """One global thing. ``neutral`` is a value that hardly any code would set, or the library's default."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    neutral: Any


def _set_default_device(device: torch.device) -> None:
    # None takes torch's own way back to the CPU; "cpu" would leave a hook on every call that makes a tensor.
    torch.set_default_device(None if device.type == "cpu" else device)


def _attribute(owner: Any, name: str, label: str, neutral: Any) -> Global:
    return Global(label, lambda: getattr(owner, name), lambda value: setattr(owner, name, value), neutral)


def _autocast(device: str) -> Global:
    return Global(
        f"autocast on {device}",
        lambda: torch.is_autocast_enabled(device),
        lambda value: torch.set_autocast_enabled(device, value),
        False,
    )


TORCH_SETTINGS = (
    Global("the default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    Global("the default device", torch.get_default_device, _set_default_device, torch.device("cpu")),
    Global("the grad mode", torch.is_grad_enabled, torch.set_grad_enabled, True),
    Global("the number of threads", torch.get_num_threads, torch.set_num_threads, 3),
    Global(
        "the use of deterministic algorithms",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
        0,
    ),
    Global(
        "the precision of fp32 products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
        "highest",
    ),
    Global("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
    _autocast("cpu"),
    _autocast("cuda"),
    _attribute(torch.backends.cudnn, "benchmark", "cuDNN's benchmark switch", False),
    _attribute(torch.backends.cudnn, "deterministic", "cuDNN's deterministic switch", False),
)


@contextmanager
def kept_settings() -> Iterator[None]:
    """Put the settings back at the end, whatever was done to them meanwhile."""
    before = [(thing, thing.read()) for thing in TORCH_SETTINGS]
    try:
        yield
    finally:
        for thing, value in before:
            if thing.read() != value:
                thing.write(value)
