"""Read what ``moebench run`` was given: a suite, a sweep, or a series of sweeps; mistakes become one sentence."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from moebench.errors import SuiteError, UnknownNameError
from moebench.hosts import host_settings
from moebench.suites import Suite, load_suite
from moebench.suites.load import is_ranked, read_values
from moebench.suites.mistakes import sentence
from moebench.suites.sweep import Series, Sweep
from moebench.tasks import get_task


def load_any(name_or_path: str) -> Suite | Sweep | Series:
    """Whichever of the three the file describes."""
    values, where = read_values(name_or_path)
    if "parts" in values:
        return _series(values, where)
    return load_suite(name_or_path) if is_ranked(values) else _sweep(values, where)


def load_parts(name_or_path: str) -> tuple[Series | None, list[Sweep]]:
    """A series and its sweeps, or one sweep alone; :class:`SuiteError` for a suite that ranks."""
    found = load_any(name_or_path)
    if isinstance(found, Suite):
        raise SuiteError(f"suite '{found.name}' ranks variants and has a leaderboard: `moebench leaderboard`.")
    if isinstance(found, Sweep):
        return None, [found]
    parts = [load_any(part) for part in found.parts]
    strangers = [part.name for part in parts if not isinstance(part, Sweep)]
    if strangers:
        raise SuiteError(f"suite '{found.name}': its part '{strangers[0]}' is not a sweep.")
    return found, [part for part in parts if isinstance(part, Sweep)]


def _series(values: dict[str, Any], where: str) -> Series:
    try:
        return Series.model_validate(values)
    except ValidationError as error:
        raise SuiteError(f"suite '{where}': {sentence(error)}") from error


def _sweep(values: dict[str, Any], where: str) -> Sweep:
    key = ""
    try:
        sweep = Sweep.model_validate(values)
        for index, arm in enumerate(sweep.arm):
            get_task(arm.task)
            key = f"arm.{index}.host"
            host_settings(arm.host)
            key = f"arm.{index}.training"
            sweep.training_of(arm)
    except ValidationError as error:
        raise SuiteError(f"suite '{where}': {sentence(error, key)}") from error
    except UnknownNameError as error:
        raise SuiteError(f"suite '{where}': {error}") from error
    return sweep
