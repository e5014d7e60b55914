"""Tasks, hosts, measures and studies by the names that suites and records have of them.

What moebench brings goes by its own name and is covered by the protocol. Any other has the digest of its code in its
name, ``Mine@0123456789ab``, so that results of two versions never mix, and a name means the same in every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moebench.errors import MoebenchError, PluginError
from moebench.plugins.find import Found, PluginGroup, is_place
from moebench.plugins.identity import code_digest
from moebench.plugins.imports import is_own, load_object

DIGITS = 12

_SPECS: dict[str, str] = {}
"""Name with digest -> where it is found. A suite and a job carry what they need of it, see :func:`remember`."""


def settle(group: PluginGroup, spec: str) -> str:
    """The name for what a suite asks for as a name or as ``path.py:Name``; remembers where that is."""
    if spec in _SPECS:
        return spec
    found = group.find(spec)
    if found.problem:
        load_object(found, group.noun)  # which raises: it cannot be used
    if is_own(found):
        return spec
    name = f"{found.name}@{code_digest(found)[:DIGITS]}"
    _SPECS[name] = found.spec
    return name


def remember(specs: Mapping[str, str]) -> None:
    """Names with a digest and where each is found, in a process that did not settle them itself."""
    _SPECS.update(specs)


def spec_of(name: str) -> str | None:
    """Where a name with a digest is found; None for any other."""
    return _SPECS.get(name)


def without_digest(name: str) -> str:
    """The name without the digest, as it is printed."""
    return name.partition("@")[0]


def load(group: PluginGroup, name: str, *, instance: bool = True) -> Any:
    """What a settled name, an installed name or ``path.py:Name`` stands for.

    An instance where that is a class, or the class itself. :class:`UnknownNameError` for a name that nothing has,
    :class:`PluginError` for one that does not import, is not here, or whose code is no longer what the name says.
    """
    return load_object(_found(group, name), group.noun, instance=instance)


def is_here(group: PluginGroup, name: str) -> bool:
    """Whether :func:`load` finds it."""
    try:
        _found(group, name)
    except MoebenchError:
        return False
    return True


def _found(group: PluginGroup, name: str) -> Found:
    spec = _SPECS.get(name, name)
    if spec != name or is_place(spec) or "@" not in spec:
        found = group.find(spec)
    elif without_digest(name) in group.installed():
        found = group.find(without_digest(name))
    else:
        raise PluginError(
            f"{group.noun} '{without_digest(name)}' is not installed, nor in a file that a suite names here as it was.",
            code="plugin-not-here",
            name=name,
        )
    if "@" in name and not is_place(name) and name.partition("@")[2] != code_digest(found)[:DIGITS]:
        raise PluginError(
            f"{group.noun} '{without_digest(name)}' has changed since these results were planned.",
            code="plugin-changed",
            name=name,
        )
    return found
