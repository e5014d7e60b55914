"""Where runs go: one small file for each executor, behind ``base.Executor``; found by name, imported when chosen."""

from __future__ import annotations

import dataclasses
from importlib import import_module

from moebench.errors import UnknownNameError, UsageError
from moebench.runner.executors.base import Executor
from moebench.runner.options import RunOptions

__all__ = ["EXECUTORS", "Executor", "open_executor"]

EXECUTORS = {
    "local": "worker processes on this machine",
    "ray": "a Ray cluster; needs moebench[ray]",
    "slurm": "SLURM job arrays; needs moebench[slurm]",
}
"""Name -> what it is; the module of that name holds ``open_executor``."""


def open_executor(how: RunOptions, threads: int = 1) -> Executor:
    """The executor that the options name, for runs of so many threads a rank.

    :class:`UsageError` where it or what it needs is missing.
    """
    if how.executor not in EXECUTORS:
        raise UnknownNameError("executor", how.executor, EXECUTORS)
    try:
        module = import_module(f"moebench.runner.executors.{how.executor}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("moebench"):
            raise
        raise UsageError(
            f"the executor '{how.executor}' needs the package '{error.name}'; "
            f"install it with `pip install 'moebench[{how.executor}]'`.",
            code="missing-package",
            executor=how.executor,
            package=error.name,
        ) from None
    how = dataclasses.replace(how, results=how.results.resolve())
    executor: Executor = module.open_executor(how, threads * how.ranks)
    return executor
