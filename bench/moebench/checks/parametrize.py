"""The checks as pytest tests of a plug-in's author: one test a check, named after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from moebench.checks.outcome import CheckFailed
from moebench.checks.run import chosen_checks, is_stop, loader, run_one
from moebench.contract import Variant

if TYPE_CHECKING:
    import pytest


def conformance(
    variant: str | Variant | type[Any],
    *,
    known: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrise a test ``def test_it(check): check()`` over all checks, or over those in ``only``.

    ``variant`` is a name, ``path.py:Class``, a class or an instance; it is loaded by the first test. ``known`` names
    checks that are known to fail, each with its reason; such a check fails its test when it holds.
    """
    import pytest

    chosen_checks(known or {})
    expected = {
        name: pytest.mark.xfail(reason=reason, strict=True, raises=CheckFailed)
        for name, reason in (known or {}).items()
    }
    load = cache(lambda: loader(variant)())
    memory: dict[Any, Any] = {}
    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(_bound(name, load, memory), id=name, marks=[expected[name]] if name in expected else [])
            for name in chosen_checks(only)
        ],
    )


def _bound(name: str, load: Callable[[], Variant], memory: dict[Any, Any]) -> Callable[[], None]:
    """A call that passes, raises :class:`CheckFailed`, or skips with the reason why the check does not apply."""
    import pytest

    def check() -> None:
        if stop := memory.get("stop"):
            pytest.skip(f"not tried, because '{stop}' fails.")
        row = run_one(name, load(), memory)
        memory["stop"] = name if is_stop(row) else ""
        for note in row.notes:
            print(f"note: {note}")  # Shown by pytest with -rP, or when the test fails.
        if row.outcome == "fails":
            raise CheckFailed(row.message)
        if row.outcome == "not applicable":
            pytest.skip(row.message)

    return check
