"""Run checks and collect what they say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from types import ModuleType
from typing import Any

from moebench.checks.outcome import CheckFailed, NotApplicable, Report, Row
from moebench.checks.process_state import untouched
from moebench.checks.properties import (
    budget,
    counting,
    determinism,
    gates,
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
    single_expert,
    skipping,
    state,
    structure,
    subsets,
)
from moebench.checks.subject import Subject, slot_of
from moebench.contract import Variant
from moebench.errors import PluginError, UnknownNameError
from moebench.plugins.find import Found, find_variant
from moebench.plugins.load import load_variant, verify

Check = Callable[[Subject], None]

THEMES: tuple[ModuleType, ...] = (
    registration,
    budget,
    counting,
    shapes,
    gradients,
    determinism,
    isolation,
    structure,
    single_expert,
    routing,
    gates,
    masks,
    skipping,
    subsets,
    losses,
    state,
    process,
    precision,
    learning,
)


@cache
def all_checks() -> dict[str, Check]:
    """Every check by name (without ``check_``), in the order in which they are run."""
    checks: dict[str, Check] = {}
    for theme in THEMES:
        own = [f for f in vars(theme).values() if getattr(f, "__module__", "") == theme.__name__]
        for function in filter(inspect.isfunction, own):
            if function.__name__.startswith("check_"):
                checks[function.__name__.removeprefix("check_")] = function
    return checks


def run_checks(
    variant: str | Variant | type[Any],
    only: Iterable[str] | None = None,
    *,
    on_start: Callable[[str], None] = lambda name: None,
) -> Report:
    """Hold a variant to the contract, by all checks or by those in ``only``.

    ``variant`` is a name, ``path.py:Class``, a class or an instance. What cannot be found raises; what is
    found and cannot be loaded is a report with a problem. ``on_start`` hears the name of each check first.
    """
    names = chosen_checks(only)
    label, load = _label(variant), loader(variant)
    try:
        loaded = load()
    except PluginError as error:
        return Report(label, problem=str(error))
    memory: dict[Any, Any] = {}
    rows = []
    for name in names:
        on_start(name)
        rows.append(run_one(name, loaded, memory))
    return Report(label, tuple(rows))


def chosen_checks(only: Iterable[str] | None) -> list[str]:
    """The names in ``only`` in the order of the checks, or all; UnknownNameError for a name that none has."""
    known = all_checks()
    wanted = list(known if only is None else only)
    for name in wanted:
        if name not in known:
            raise UnknownNameError("check", name, known)
    return [name for name in known if name in wanted]


def run_one(name: str, variant: Variant, memory: dict[Any, Any] | None = None) -> Row:
    """The row of one check. What a variant raises is its failure; what it does to the process is undone."""
    subject = Subject(variant, slot_of(variant), memory={} if memory is None else memory)
    try:
        with untouched():
            all_checks()[name](subject)
    except NotApplicable as reason:
        return Row(name, "not applicable", str(reason), tuple(subject.notes))
    except CheckFailed as failure:
        return Row(name, "fails", str(failure), tuple(subject.notes))
    except Exception as error:
        return Row(name, "fails", f"{subject.name} raises {one_line(error)}", tuple(subject.notes))
    return Row(name, "holds", "", tuple(subject.notes))


def one_line(error: BaseException) -> str:
    """``ValueError: its first line``."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def loader(variant: str | Variant | type[Any]) -> Callable[[], Variant]:
    """Find a variant now; the call that comes back loads it and holds it to the rules of registration."""
    if isinstance(variant, str):
        found = find_variant(variant)
        return lambda: _from_file(found)
    return lambda: _accepted(variant)


def _from_file(found: Found) -> Variant:
    with untouched():
        return load_variant(found)


def _accepted(variant: Variant | type[Any]) -> Variant:
    label = _label(variant)
    try:
        instance: Any = variant() if isinstance(variant, type) else variant
    except Exception as error:
        raise PluginError(f"{label}: {label}() raises {one_line(error)}.") from error
    verify(label, instance)
    accepted: Variant = instance
    return accepted


def _label(variant: str | Variant | type[Any]) -> str:
    if isinstance(variant, str):
        return variant
    if isinstance(variant, type):
        return variant.__name__
    return str(getattr(variant, "name", type(variant).__name__))
