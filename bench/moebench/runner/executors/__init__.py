"""Where runs go: one small file for each executor, behind ``base.Executor``; found by name, imported when chosen."""

from __future__ import annotations

from importlib import import_module

from moebench.errors import UnknownNameError, UsageError
from moebench.runner.executors.base import Executor, Limits, Setup

__all__ = ["EXECUTORS", "Executor", "Limits", "Setup", "open_executor"]

EXECUTORS = {
    "local": "worker processes on this machine",
    "ray": "a Ray cluster; needs moebench[ray]",
    "slurm": "SLURM job arrays; needs moebench[slurm]",
}
"""Name -> what it is; the module of that name holds ``open_executor``."""


def open_executor(name: str, setup: Setup) -> Executor:
    """The executor of that name; :class:`UsageError` where it or what it needs is missing."""
    if name not in EXECUTORS:
        raise UnknownNameError("executor", name, EXECUTORS)
    try:
        module = import_module(f"moebench.runner.executors.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("moebench"):
            raise
        raise UsageError(
            f"the executor '{name}' needs the package '{error.name}'; install it with `pip install 'moebench[{name}]'`."
        ) from None
    executor: Executor = module.open_executor(setup)
    return executor
