"""Names that a new variant may have, and the class that goes with one."""

from __future__ import annotations

import importlib.util
import keyword
import re

from moebench.errors import UsageError
from moebench.plugins.find import find_variants

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""The rule that a variant's name is held to when it is loaded, known here without importing torch."""

USED_IN_TEMPLATE = frozenset({"Experts", "Layer", "LinearRouter", "LogUniform", "Routing", "Variant"})


def refuse_name(name: str) -> None:
    """:class:`UsageError` if a new variant cannot be called so."""
    if not NAME.fullmatch(name):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
        near = re.sub(r"\W+", "_", words).strip("_").lower()[:40]
        hint = f", such as '{near}'" if NAME.fullmatch(near) and not keyword.iskeyword(near) else ""
        raise UsageError(
            f"'{name}' is no name for a variant; use lower-case letters, digits and underscores, at most 40, "
            f"with a letter first{hint}."
        )
    if keyword.iskeyword(name) or keyword.iskeyword(class_name(name)):
        raise UsageError(f"'{name}' is a word of Python's own; choose another name.")
    if name in find_variants():
        raise UsageError(
            f"'{name}' is taken: the package {find_variants()[name].package} brings a variant of that name."
        )
    if importlib.util.find_spec(name) is not None:
        raise UsageError(f"'{name}' is taken: a Python module of that name can be imported already; choose another.")


def class_name(name: str) -> str:
    """``my_layer`` -> ``MyLayer``; one that the new module uses itself gets ``Variant`` at its end."""
    words = "".join(part.capitalize() for part in name.split("_"))
    return f"{words}Variant" if words in USED_IN_TEMPLATE else words
