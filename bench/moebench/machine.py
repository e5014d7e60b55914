"""The machine and the software on it, without importing torch."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def cpu_model() -> str:
    """The processor's name."""
    names = _values(Path("/proc/cpuinfo"), "model name")
    return (names[0] if names else platform.processor()) or platform.machine()


def cores() -> int:
    """Processors that this process may use: those that it may run on, or fewer by its container's quota."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = processor_quota()
    return own if quota is None else max(1, min(own, int(quota)))


def processor_quota(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float | None:
    """How many processors' time the control groups of this process allow, of version 1 or 2; None without a limit."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if not controllers:
            found += [_share(*_words(folder / "cpu.max")[:2]) for folder in _above(mounted, place)]
        elif "cpu" in controllers.split(","):
            for folder in (each for mount in (controllers, "cpu") for each in _above(mounted / mount, place)):
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                found.append(_share(*(word for name in names for word in _words(folder / name)[:1])))
    return min((share for share in found if share is not None), default=None)


def _above(mounted: Path, place: str) -> list[Path]:
    """The folder of a group and of those above it; in a container the place may be one of the host's."""
    inside = mounted / place.lstrip("/")
    return [inside, *(each for each in inside.parents if each.is_relative_to(mounted))]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []


def _share(quota: str = "", period: str = "") -> float | None:
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None


def cuda_devices_seen() -> list[str]:
    """What identifies a set of CUDA devices: device files, the driver's names, the variable."""
    files = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]
    gpus = Path("/proc/driver/nvidia/gpus").glob("*/information")
    models = [f"{path.parent.name} {model}" for path in gpus for model in _values(path, "Model")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return sorted([*map(str, files), *models]) + ([] if visible is None else [f"visible: {visible}"])


def nvidia_driver() -> str:
    """The version of NVIDIA's driver, or empty."""
    (line, *_) = (*_values(Path("/proc/driver/nvidia/version"), "NVRM version"), "")
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", line)
    return found[0] if found else ""


def _values(path: Path, name: str) -> list[str]:
    """What follows the colon in the lines of a file that begin with a name; nothing if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(name)]


Installation = tuple[tuple[str, int], ...]
"""Where packages are installed, and when something was last installed or removed there."""


def installation() -> Installation:
    """Of this process; reads only the modification times of a few folders."""
    found = []
    for place in sys.path:
        with contextlib.suppress(OSError):
            dated = (place, os.stat(place or ".").st_mtime_ns)
            if _has_packages(*dated):
                found.append(dated)
    return tuple(found)


@cache
def _has_packages(place: str, changed: int) -> bool:
    """Whether a folder holds an installed package's metadata."""
    return any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(place or "."))


def versions() -> dict[str, str]:
    """Versions of what determines numbers and timings."""
    return dict(_versions(installation()))


@cache
def _versions(installed: Installation) -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for package in ("moebench", "torch", "timm", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found
