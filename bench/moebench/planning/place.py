"""The device that a plan is made for: this machine's, or the one that an executor runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moebench import machine

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Place:
    """type: cpu or cuda. name: as a person would name the device. torch: as torch does. versions: of the software."""

    type: str
    name: str
    torch: str
    versions: dict[str, str]

    def as_device(self) -> dict[str, str]:
        """Plain values, as a plan keeps them."""
        return {"type": self.type, "name": self.name, "torch": self.torch}


def here(asked: str | None) -> Place:
    """This machine's device: the one asked for, or CUDA where there is one, else the CPU."""
    from moebench.training.device import choose_device, device_name

    device: torch.device = choose_device(asked)
    return Place(device.type, device_name(device), str(device), machine.versions())
