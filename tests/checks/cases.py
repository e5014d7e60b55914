"""The list of deliberately broken variants, each with the check that must name it and words of its message."""

from __future__ import annotations

import re
from dataclasses import dataclass

from good import Good

from moebench.contract import Layer


@dataclass(frozen=True)
class Case:
    check: str
    variant: type
    words: tuple[str, ...]


# By name, because the check on imports runs these modules a second time.
CASES: dict[str, Case] = {}


def caught_by(check, *words, **attributes):
    """Register a broken layer (made a variant of with ``attributes``) or a broken variant under its check."""

    def register(broken):
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", broken.__name__).lower()
        body = {"name": name, "__module__": broken.__module__, **attributes}
        layers = {"makes": broken} if issubclass(broken, Layer) else {}
        variant = type(f"{broken.__name__}Variant", (Good if layers else broken,), body | layers)
        CASES[name] = Case(check, variant, (name, *words))
        return broken

    return register
