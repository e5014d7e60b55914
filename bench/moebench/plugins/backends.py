"""Backends of the expert computation: how the experts' products are done, chosen apart from the variant.

A backend is ``run(experts, rows_ND, counts_E, most) -> rows_NO`` on rows sorted by expert, of which one expert has
``most`` at most (None: nobody knows). Its module may define
``available() -> str | None``, the reason why it does not work here, and ``SWITCHES``, names of environment variables
that change what it does. Parts that use a backend have a method ``set_backend(run)``; ``None`` gives the part back its
own choice.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moebench.errors import MoebenchError, PluginError
from moebench.plugins.find import BACKENDS
from moebench.plugins.imports import ANY, load_object
from moebench.text import told

if TYPE_CHECKING:
    from torch import Tensor, nn

# In quotes, so that what knows of backends does not import torch.
Backend = Callable[[Any, "Tensor", "Tensor", "int | None"], "Tensor"]


def load_backend(name: str) -> Backend:
    """The backend of that name; :class:`UnknownNameError` or :class:`PluginError` if it cannot be had."""
    backend: Backend = load_object(BACKENDS.find(name), "backend")
    module = importlib.import_module(backend.__module__)
    try:
        reason = module.available() if hasattr(module, "available") else None
    except ANY as error:
        reason = told(error)
    if reason:
        raise PluginError(f"backend {name}: it does not work here: {reason}.", code="backend-unavailable")
    return backend


def switches_set(name: str | None) -> dict[str, str]:
    """Which of a backend's switches the environment has, and how they stand: provenance of what it computes.

    None for one that cannot be had, which computes nothing: to say so is not the business of a record.
    """
    if name is None:
        return {}
    try:
        module = importlib.import_module(load_backend(name).__module__)
    except MoebenchError:
        return {}
    names = getattr(module, "SWITCHES", ())
    return {switch: os.environ[switch] for switch in names if switch in os.environ}


def choose_backend(model: nn.Module, name: str | None) -> None:
    """Let every part of the model that computes experts use this backend (None: its own choice)."""
    backend = load_backend(name) if name else None
    for module in model.modules():
        set_backend = getattr(module, "set_backend", None)
        if callable(set_backend):
            set_backend(backend)
