"""A layer reads nothing but its input."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType

from moebench.checks.subject import CheckSubject
from moebench.contract import Variant
from moebench.plugins.names import names_in

DATA = ("datasets", "moebench.tasks", "sklearn.datasets", "torchvision.datasets")
"""Modules that give data sets, labels among them."""

FRAMES = frozenset(
    {"gc.get_objects", "gc.get_referrers", "inspect.currentframe", "inspect.stack", "sys._current_frames"}
    | {"sys._getframe", ".f_back", ".tb_frame"}
)
"""Ways to the variables of whoever calls the layer."""


def check_reads_no_data(subject: CheckSubject) -> None:
    """Its code names no module of data sets, and no way to the variables of its callers."""
    variant = subject.variant
    made_with = [type(variant), *_functions_of(variant)]
    code = [*made_with, *{type(module): None for module in subject.build().modules()}]
    for named in names_in(code, {each.__module__.partition(".")[0] for each in made_with}):
        where = f"({named.file}, line {named.line})"
        if any(f"{named.dotted}.".startswith(f"{each}.") for each in DATA):
            raise subject.failed(f"names {named.dotted} {where}; a layer reads no data but its input")
        if named.dotted in FRAMES:
            raise subject.failed(f"names {named.dotted.lstrip('.')} {where}; a layer does not look at its callers")


def _functions_of(variant: Variant) -> Iterator[type | FunctionType]:
    """What a variant was made with, as by ``wrap``."""
    for value in vars(variant).values():
        held = vars(value).values() if type(value).__module__.startswith("moebench.") else ()
        yield from (each for each in (value, *held) if isinstance(each, type | FunctionType))
