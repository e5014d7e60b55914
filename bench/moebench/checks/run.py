"""Run checks and collect their outcomes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from moebench.apart import ApartError, apart
from moebench.checks.outcome import CheckFailed, CheckReport, CheckResult, NotApplicable, Outcome, one_line
from moebench.checks.process_state import untouched
from moebench.checks.properties import (
    budget,
    data,
    determinism,
    first,
    gradients,
    isolation,
    learning,
    losses,
    masks,
    precision,
    process,
    registration,
    routing,
    shapes,
    state,
    structure,
    subsets,
    views,
)
from moebench.checks.subject import CheckSubject, slot_of
from moebench.contract import Variant
from moebench.errors import PluginError, UnknownNameError
from moebench.plugins.find import find_variant
from moebench.plugins.imports import is_own
from moebench.plugins.load import load_variant, verify
from moebench.plugins.modules import refuse_module
from moebench.text import counted_noun

Check = Callable[[CheckSubject], None]

THEMES = (
    first,
    registration,
    data,
    budget,
    shapes,
    gradients,
    determinism,
    isolation,
    structure,
    routing,
    masks,
    subsets,
    losses,
    state,
    process,
    precision,
    learning,
    views,
)


@cache
def all_checks() -> dict[str, Check]:
    """Every check by name (without ``check_``), in the order in which they are run."""
    return {
        name.removeprefix("check_"): function
        for theme in THEMES
        for name, function in vars(theme).items()
        if name.startswith("check_") and function.__module__ == theme.__name__
    }


def run_checks(
    variant: str | Variant | type[Any],
    only: Iterable[str] | None = None,
    *,
    on_start: Callable[[str], None] = lambda name: None,
    pickled: bytes | None = None,
) -> CheckReport:
    """Check a variant against the contract, by all checks or by those in ``only``.

    ``variant`` is a name, ``path.py:Class``, a class or an instance. What cannot be found raises; what is
    found and cannot be loaded is a report with a problem. ``on_start`` is called with each check's name before it.
    pickled: an instance by cloudpickle, to be checked in a process of its own, as a variant from a file is.
    """
    names = chosen_checks(only)
    label, load = _label(variant), loader(variant)
    if pickled is not None:
        return _run_apart(label, pickled, names, on_start)
    if isinstance(variant, str) and not is_own(found := find_variant(variant)):
        return _run_apart(label, found.spec, names, on_start)
    rows = list[CheckResult]()
    try:
        for each in _made(load, names):
            if isinstance(each, str):
                on_start(each)
            else:
                rows.append(each)
    except PluginError as error:
        return CheckReport(label, problem=str(error))
    return _reported(label, rows, names)


def _reported(label: str, rows: list[CheckResult], names: list[str]) -> CheckReport:
    stopped = bool(rows) and is_stop(rows[-1])
    return CheckReport(label, tuple(rows), untried=len(names) - len(rows) if stopped else 0)


def is_stop(row: CheckResult) -> bool:
    """Whether a check failed that all others rest on, so that they are not tried."""
    return row.outcome == "fails" and hasattr(first, f"check_{row.name}")


def _made(load: Callable[[], Variant], names: Iterable[str]) -> Iterator[str | CheckResult]:
    """The name of each check, then its row, to the first that all others rest on and that fails."""
    loaded, memory = load(), dict[Any, Any]()
    for name in names:
        yield name
        row = run_one(name, loaded, memory)
        yield row
        if is_stop(row):
            return


def _run_apart(label: str, given: str | bytes, names: list[str], on_start: Callable[[str], None]) -> CheckReport:
    """The same of another author's variant, in a process of its own; a check that ends the process is the last.

    given: its spec, with the file's whole path, for that process stands elsewhere; or itself by cloudpickle.
    """
    rows, name = list[CheckResult](), ""
    try:
        for value in apart(_made_apart, given, names):
            if isinstance(value, str):
                name = value
                on_start(name)
            else:
                rows.append(CheckResult(**value | {"notes": tuple(value["notes"])}))
    except PluginError as error:
        return CheckReport(label, problem=str(error))
    except ApartError as error:
        if not name:
            return CheckReport(label, problem=f"{label}: importing it {error}.")
        rest = names[names.index(name) + 1 :]
        after = f" {counted_noun(len(rest), 'check')} after it not made." if rest else ""
        rows.append(CheckResult(name, "fails", f"{label} {error}.{after}"))
        return CheckReport(label, tuple(rows), stopped=f"{label}: the check {name} {error}")
    return _reported(label, rows, names)


def _made_apart(given: str | bytes, names: list[str]) -> Iterator[str | dict[str, Any]]:
    """The body of that process."""
    sys.dont_write_bytecode = True  # a published directory has the files of its manifest and no others
    variant: str | Variant
    if isinstance(given, str):
        variant = given
    else:
        import cloudpickle

        variant = cloudpickle.loads(given)
    for each in _made(loader(variant), names):
        yield each if isinstance(each, str) else dataclasses.asdict(each)


def chosen_checks(only: Iterable[str] | None) -> list[str]:
    """The names in ``only`` in the order of the checks, or all; UnknownNameError for a name that none has."""
    known = all_checks()
    wanted = list(known if only is None else only)
    for name in wanted:
        if name not in known:
            raise UnknownNameError("check", name, known)
    return [name for name in known if name in wanted]


def run_one(name: str, variant: Variant, memory: dict[Any, Any]) -> CheckResult:
    """The row of one check. What a variant raises is its failure; what it does to the process is undone."""
    subject = CheckSubject(variant, slot_of(variant), memory=memory)
    outcome: Outcome = "holds"
    message = ""
    try:
        with untouched():
            all_checks()[name](subject)
    except NotApplicable as reason:
        outcome, message = "not applicable", str(reason)
    except CheckFailed as failure:
        outcome, message = "fails", str(failure)
    except Exception as error:
        outcome, message = "fails", f"{subject.name} raises {one_line(error)}"
    return CheckResult(name, outcome, message, tuple(subject.notes))


def loader(variant: str | Variant | type[Any]) -> Callable[[], Variant]:
    """Find a variant now; the call that comes back loads it and checks the rules of registration."""
    if not isinstance(variant, str):
        return lambda: _accepted(variant)
    found = find_variant(variant)

    def load() -> Variant:
        with untouched():
            return load_variant(found)

    return load


def _accepted(variant: Variant | type[Any]) -> Variant:
    label = _label(variant)
    refuse_module(label, variant)
    try:
        instance: Any = variant() if isinstance(variant, type) else variant
    except Exception as error:
        raise PluginError(
            f"{label}: {label}() raises {one_line(error)}.", code="variant-not-made", variant=label
        ) from error
    verify(label, instance)
    accepted: Variant = instance
    return accepted


def _label(variant: str | Variant | type[Any]) -> str:
    if isinstance(variant, str):
        return variant
    return str(variant.__name__ if isinstance(variant, type) else getattr(variant, "name", type(variant).__name__))
