"""How experts are computed: backends, which are plug-ins of the entry-point group ``moebench.backends``.

A backend is a callable ``run(experts, rows_ND, counts_E, most=None) -> rows_NO``: rows sorted by expert, counts_E of
them for each, ``most`` the most that an expert can have (None: not known), parameters read from ``experts``
(:class:`moevariants.parts.Experts`). Rows beyond the sum of counts_E belong to no expert. All compute the same
function. The module of a backend may define ``available() -> str | None``: the reason why it cannot work here, or None.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

GROUP = "moebench.backends"
# In quotes, so that listing the backends does not import torch.
Backend = Callable[..., "Tensor"]
"""``run`` as above."""

# Loaded by name, like all others: which backend computes is no part of what a variant is.
_AUTO = EntryPoint("auto", "moevariants.backends.auto:run", GROUP)


@cache
def find_backend(name: str) -> Backend:
    """The backend of this name; ValueError, in one sentence, if there is none or it does not work here."""
    found = [_AUTO] if name == "auto" else list(entry_points(group=GROUP, name=name))
    if not found:
        known = sorted({"auto", *entry_points(group=GROUP).names})
        raise ValueError(f"unknown backend '{name}'; known: {', '.join(known)}")
    if len(found) > 1:
        raise ValueError(f"backend '{name}' is ambiguous: {' and '.join(sorted(e.value for e in found))} claim it")
    try:
        backend: Backend = found[0].load()
    except Exception as error:  # Whatever another author's module raises becomes its reason.
        raise ValueError(f"backend '{name}' cannot be loaded: {error}") from error
    available = getattr(sys.modules.get(backend.__module__), "available", None)
    reason = available() if available else None
    if reason is not None:
        raise ValueError(f"backend '{name}' does not work here: {reason}")
    return backend
