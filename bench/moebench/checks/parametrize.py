"""The checks as pytest tests of a plug-in's author: one test a check, named after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moebench.checks.outcome import CheckFailed
from moebench.checks.run import chosen_checks, loader, run_one
from moebench.contract import Variant

if TYPE_CHECKING:
    import pytest


class _Shelf:
    """A variant that is loaded when the first test asks for it, and kept for the others."""

    def __init__(self, variant: str | Variant | type[Any]) -> None:
        self._wanted = variant
        self._loaded: Variant | None = None
        self.memory: dict[Any, Any] = {}

    def take(self) -> Variant:
        """The variant; PluginError or UnknownNameError if it cannot be had."""
        if self._loaded is None:
            self._loaded = loader(self._wanted)()
        return self._loaded


@dataclass(frozen=True)
class BoundCheck:
    """One check on one variant; calling it passes, fails or skips the test that calls it."""

    name: str
    shelf: _Shelf = field(repr=False)

    def __call__(self) -> None:
        """Raise :class:`CheckFailed` with the message, or skip with the reason why it does not apply."""
        import pytest

        row = run_one(self.name, self.shelf.take(), self.shelf.memory)
        for note in row.notes:
            print(f"note: {note}")  # Shown by pytest with -rP, or when the test fails.
        if row.outcome == "fails":
            raise CheckFailed(row.message)
        if row.outcome == "not applicable":
            pytest.skip(row.message)


def conformance(
    variant: str | Variant | type[Any],
    *,
    known: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
) -> pytest.MarkDecorator:
    """Parametrise a test ``def test_it(check): check()`` over all checks, or over those in ``only``.

    ``variant`` is a name, ``path.py:Class``, a class or an instance. ``known`` names checks that are known to
    fail, each with its reason; they are expected to, and one that holds after all fails its test.
    """
    import pytest

    known = known or {}
    chosen_checks(known)
    shelf = _Shelf(variant)
    expected = {n: pytest.mark.xfail(reason=why, strict=True, raises=CheckFailed) for n, why in known.items()}
    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(BoundCheck(name, shelf), id=name, marks=[expected[name]] if name in expected else [])
            for name in chosen_checks(only)
        ],
    )
