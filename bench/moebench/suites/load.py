"""Find and read suite files; every mistake becomes one sentence: file, key, and what would be right."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moebench.errors import SuiteError, UnknownNameError
from moebench.hosts import host_settings
from moebench.plugins.find import find_variants, is_place
from moebench.suites.mistakes import hint, sentence
from moebench.suites.schema import Suite, Training
from moebench.tasks import get_task


def find_suites() -> dict[str, Path]:
    """The suites that moebench brings, by name."""
    folder = Path(str(files("moebench.suites")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_suite(name_or_path: str) -> Suite:
    """A validated suite from its name or from a user's own file; one that ranks variants."""
    values, where = read_values(name_or_path)
    if not is_ranked(values):
        raise SuiteError(
            f"suite '{values['name']}' sweeps fixed settings and ranks nothing: it has a report, not a leaderboard; "
            f"use `moebench run {name_or_path}` and `moebench report {name_or_path}`."
        )
    return parse_suite(values, where)


def read_values(name_or_path: str) -> tuple[dict[str, Any], str]:
    """What the file of a suite says, its name included, and where it lies."""
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise SuiteError(f"there is no suite file '{path}'.")
    else:
        known = find_suites()
        if name_or_path not in known:
            raise UnknownNameError("suite", name_or_path, known)
        path = known[name_or_path]
    return {"name": path.stem, **_read(path)}, str(path)


def is_ranked(values: dict[str, Any]) -> bool:
    """Whether a file describes a suite that ranks, rather than a sweep or a series of them."""
    return "arm" not in values and "parts" not in values


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"'{path}' is not valid TOML: {error}.") from error
    except OSError as error:
        raise SuiteError(f"cannot read the suite file '{path}' ({error.strerror}).") from error


def parse_suite(values: dict[str, Any], where: str) -> Suite:
    """Validate what a file says, down to the settings of its host on each task."""
    key = ""
    try:
        suite = Suite.model_validate(values)
        _check_names(suite, where)
        for index, entry in enumerate(suite.task):
            key = ""
            get_task(entry.name)
            key = f"task.{index}.host" if entry.host else "host"
            host_settings(suite.host | entry.host)
            key = f"task.{index}.training"
            Training.model_validate(suite.training.model_dump() | entry.training)
    except ValidationError as error:
        raise SuiteError(f"suite '{where}': {sentence(error, key)}") from error
    except UnknownNameError as error:
        raise SuiteError(f"suite '{where}': {error}") from error
    return suite


def _check_names(suite: Suite, where: str) -> None:
    """What refers to variants refers to the suite's. If not, it may be the variant that is misspelt."""
    variants = sorted({*suite.variants, *(reference.variant for reference in suite.reference)})
    if any(map(is_place, variants)):
        return  # the name that a file gives itself is known when it is imported
    problem = next(_stray_names(suite, variants), "")
    if problem:
        installed = find_variants()
        for variant in variants:
            if variant not in installed:
                raise UnknownNameError("variant", variant, installed)
        raise SuiteError(f"suite '{where}': {problem}")


def _stray_names(suite: Suite, variants: list[str]) -> Iterator[str]:
    for reference in suite.reference:
        name = reference.active_of
        if name is not None and name not in suite.variants:
            yield f"active_of of the reference '{reference.name}' is '{name}'; {hint(name, suite.variants)}"
    for name in suite.space:
        if name not in variants:
            yield f"space.{name} is for a variant that the suite does not have; {hint(name, variants)}"
