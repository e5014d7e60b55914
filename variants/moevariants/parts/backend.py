"""How experts are computed: backends, which are plug-ins of the entry-point group ``moebench.backends``.

A backend is a callable ``run(experts, rows_ND, counts_E, most=None) -> rows_NO``: rows sorted by expert, counts_E of
them for each, ``most`` the most that an expert can have (None: not known), parameters read from ``experts``
(:class:`moevariants.parts.Experts`). Rows beyond the sum of counts_E belong to nobody. All compute the same function.
The module of a backend may define ``available() -> str | None``: the reason why it cannot work
here, or None.
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

__all__ = ["GROUP", "Backend", "backend_names", "find_backend", "why_unavailable"]


def backend_names() -> tuple[str, ...]:
    """Every name that :func:`find_backend` knows, sorted; whether each works here is another question."""
    return tuple(sorted({"auto", *entry_points(group=GROUP).names}))


def why_unavailable(backend: Backend) -> str | None:
    """The backend's own reason why it cannot work on this machine, or None if it can."""
    available = getattr(sys.modules.get(backend.__module__), "available", None)
    reason: str | None = available() if available else None
    return reason


@cache
def find_backend(name: str) -> Backend:
    """The backend of this name; ValueError, in one sentence, if there is none or it does not work here."""
    found = [_AUTO] if name == "auto" else list(entry_points(group=GROUP, name=name))
    if not found:
        raise ValueError(f"unknown backend '{name}'; known: {', '.join(backend_names())}")
    if len(found) > 1:
        raise ValueError(f"backend '{name}' is ambiguous: {' and '.join(sorted(e.value for e in found))} claim it")
    try:
        backend: Backend = found[0].load()
    except Exception as error:  # Whatever a stranger's module raises becomes its reason.
        raise ValueError(f"backend '{name}' cannot be loaded: {error}") from error
    reason = why_unavailable(backend)
    if reason is not None:
        raise ValueError(f"backend '{name}' does not work here: {reason}")
    return backend
