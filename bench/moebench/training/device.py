"""Which device a run uses, how it is named, and the place that a plan is made for. Importing this loads no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moebench import machine
from moebench.errors import DeviceError

if TYPE_CHECKING:
    import torch

MIB = 2**20


def choose_device(asked: str | None) -> torch.device:
    """The one asked for, or CUDA where there is one, else the CPU; :class:`DeviceError` if it has none."""
    import torch

    if asked is None or asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise _unknown(asked) from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise _unknown(asked)
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        have = f"{count or 'no'} CUDA device{'s' * (count > 1)}"
        raise DeviceError(
            f"there is no device '{asked}': this machine has {have}; use --device cpu or leave it out.",
            code="no-such-device",
            device=asked,
            count=count,
        )
    return device


def _unknown(asked: str) -> DeviceError:
    return DeviceError(f"'{asked}' is not supported; use cpu, cuda or cuda:N.", code="unknown-device", device=asked)


def device_name(device: torch.device) -> str:
    """The device as a person would name it, for provenance and for the latency session."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"cpu ({machine.cpu_model()})"


def use(device: torch.device, precision: str, *, deterministic: bool = False) -> None:
    """Make a device this process's own, so that kernels start there. In fp32, convolutions are fp32, too: cuDNN would
    use TF32, unlike products of matrices.

    deterministic: torch takes algorithms that add in a fixed order, which are slower, and raises RuntimeError where it
    has none. On a CPU all of this is so without asking.
    """
    if device.type != "cuda":
        return
    import torch

    torch.cuda.set_device(device.index or 0)
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first product
        torch.use_deterministic_algorithms(True)
        # All that is read was written before, and filling takes time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def software_of(device: torch.device) -> dict[str, str]:
    """What else determines numbers and timings on a GPU: driver, CUDA, cuDNN, whether TF32 may be used, and whether
    algorithms were asked to be deterministic.
    """
    if device.type != "cuda":
        return {}
    import torch

    return {
        "driver": machine.nvidia_driver(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "tf32": f"convolutions {torch.backends.cudnn.allow_tf32}, products {torch.backends.cuda.matmul.allow_tf32}",
        "deterministic": f"torch {torch.are_deterministic_algorithms_enabled()}, "
        f"cuDNN {torch.backends.cudnn.deterministic}",
    }


def memory_now() -> str:
    """How much memory the current GPU has free, which others may share, and this process holds, in words behind a
    statement; empty where this process uses none.
    """
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return ""
    try:
        free, total = (f"{amount // MIB:,}" for amount in torch.cuda.mem_get_info())
        held = f"{torch.cuda.memory_reserved() // MIB:,}"
    except RuntimeError:  # after some errors the device answers no more
        return ""
    return f" ({free} of {total} MiB of the GPU are free, this process holds {held})"


def default_precision(kind: str) -> str:
    """bf16 autocast on CUDA, fp32 on the CPU."""
    return "bf16" if kind == "cuda" else "fp32"


@dataclass(frozen=True)
class DeviceInfo:
    """type: cpu or cuda. name: as a person would name the device. torch: as torch does. versions: of the software."""

    type: str
    name: str
    torch: str
    versions: dict[str, str]

    def as_device(self) -> dict[str, str]:
        """Plain values, as a plan keeps them."""
        return {"type": self.type, "name": self.name, "torch": self.torch}


def here(asked: str | None) -> DeviceInfo:
    """This machine's device: the one asked for, or CUDA where there is one, else the CPU."""
    device = choose_device(asked)
    return DeviceInfo(device.type, device_name(device), str(device), machine.versions())
