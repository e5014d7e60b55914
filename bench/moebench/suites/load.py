"""Find and read suite files; every mistake becomes one sentence with the file, the key and what would be right."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moebench.errors import SuiteError, UnknownNameError
from moebench.hosts import HOSTS, host_settings
from moebench.suites.schema import Suite, Training
from moebench.tasks import get_task


def find_suites() -> dict[str, Path]:
    """The suites that moebench brings, by name."""
    folder = Path(str(files("moebench.suites")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_suite(name_or_path: str) -> Suite:
    """A validated suite from its name or from a user's own file."""
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise SuiteError(f"there is no suite file '{path}'.")
    else:
        known = find_suites()
        if name_or_path not in known:
            raise UnknownNameError("suite", name_or_path, known)
        path = known[name_or_path]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"'{path}' is not valid TOML: {error}.") from error
    except OSError as error:
        raise SuiteError(f"cannot read the suite file '{path}' ({error.strerror}).") from error
    return parse_suite({"name": path.stem, **values}, str(path))


def parse_suite(values: dict[str, Any], where: str) -> Suite:
    """Validate what a file says, down to the settings of its host on each task."""
    try:
        suite = Suite.model_validate(values)
        for entry in suite.task:
            get_task(entry.name)
            host_settings(suite.host | entry.host)
            Training.model_validate(suite.training.model_dump() | entry.training)
    except ValidationError as error:
        raise SuiteError(f"suite '{where}': {first_problem(error)}") from error
    except UnknownNameError as error:
        raise SuiteError(f"suite '{where}': {error}") from error
    return suite


def first_problem(error: ValidationError) -> str:
    """The first of pydantic's findings as one sentence: where, what, and what would be right."""
    import difflib

    finding = error.errors()[0]
    where = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "extra_forbidden":
        known = _siblings(error.title, finding["loc"])
        near = difflib.get_close_matches(str(finding["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
        return f"unknown key '{where}'; {hint}"
    message = finding["msg"].removeprefix("Value error, ")
    if finding["type"] == "missing":
        return f"the key '{where}' is missing."
    got = finding.get("input")
    shown = f", not {got!r}" if isinstance(got, str | int | float | bool) else ""
    return f"{where + ': ' if where else ''}{message[0].lower() + message[1:]}{shown}."


def _siblings(title: str, loc: tuple[Any, ...]) -> list[str]:
    """The keys that exist beside an unknown one."""
    model: Any = {"Suite": Suite, "Training": Training, **{m.__name__: m for m in HOSTS.values()}}.get(title)
    for part in loc[:-1]:
        field = model.model_fields.get(part) if model is not None and isinstance(part, str) else None
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if hasattr(c, "model_fields")), model)
    return sorted(model.model_fields) if model is not None else []
