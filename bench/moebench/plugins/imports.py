"""Import what a plug-in was found to be; whatever its module raises becomes one sentence."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from moebench.errors import PluginError
from moebench.files import read_bytes
from moebench.frames import frames_of, where
from moebench.plugins.beside import FILE_PREFIX, builtins_for, forget
from moebench.plugins.find import Found
from moebench.plugins.identity import code_digest
from moebench.plugins.modules import refuse_module
from moebench.records.canonical import digest
from moebench.text import told

LOG = logging.getLogger(__name__)

OWN = "moebench"
"""The distribution whose plug-ins the protocol covers."""

ANY = (Exception, SystemExit)
"""What another author's module may raise; one that ends the program must not end this one."""

_APART_FIRST = False
"""Set by :func:`load_apart_first` in the process of a command; never in those that it starts."""


def load_object(found: Found, noun: str = "", *, instance: bool = True) -> Any:
    """What the plug-in's name stands for; :class:`PluginError` if it fails. Settings of torch are put back afterwards.

    noun: what such a plug-in is called, for the sentence; a variant goes by its name alone. instance: of a class, an
    instance of it.
    """
    with _torch_as_it_was():
        return _loaded(found, noun, instance)


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Where torch is imported already: before that there is nothing to put back, and most plug-ins need no torch."""
    if "torch" not in sys.modules:
        yield
        return
    from moebench.plugins.torch_settings import kept_settings

    with kept_settings():
        yield


def _loaded(found: Found, noun: str, instance: bool) -> Any:
    who = f"{noun} {found.spec}".strip()
    if found.problem:
        raise PluginError(f"{who}: {found.problem}", code="plugin-problem")
    if _APART_FIRST and not is_own(found):
        _try_apart(found, noun, instance, _code(found), _code_of(found))
    LOG.info("imports %s, from %s", who, found.source or found.module)
    try:
        module = _imported(found)
    except ANY as error:
        frames = frames_of(error)
        problem = f"it fails to import ({told(error)}){where(frames)}"
        raise PluginError(f"{who}: {problem}.", code="import-failed", frames=frames) from error
    try:
        thing: Any = functools.reduce(getattr, found.attribute.split("."), module)
    except AttributeError:
        raise PluginError(f"{who}: '{module.__file__}' has no '{found.attribute}'.", code="no-such-attribute") from None
    if not noun:
        refuse_module(found.spec, thing)
    if not (instance and isinstance(thing, type)):
        return thing
    try:
        return thing()
    except ANY as error:
        raise PluginError(
            f"{who}: {thing.__name__}() raised {told(error)}.", code="constructor-raised", frames=frames_of(error)
        ) from error


def is_own(found: Found) -> bool:
    """Whether moebench itself brings it."""
    return found.package == OWN and not found.in_file


def load_apart_first() -> None:
    """From now on, import another author's plug-in here only after a process of its own could.

    So one that ends its process, crashes it or never comes back ends no command: it is a :class:`PluginError`.
    """
    global _APART_FIRST
    _APART_FIRST = True


def _code(found: Found) -> bytes:
    """What lies in its file; nothing where there is none that can be read, which the import will say."""
    try:
        return read_bytes(found.source) if found.source else b""
    except OSError:
        return b""


@functools.cache
def _try_apart(found: Found, noun: str, instance: bool, code: bytes, all_code: str) -> None:
    from moebench.apart import ApartError, outcome

    try:
        outcome(_loads, found, noun, instance)
    except ApartError as error:
        raise PluginError(f"{noun} {found.spec}".strip() + f": importing it {error}.", code="import-ended") from None


def _loads(found: Found, noun: str, instance: bool) -> Iterator[bool]:
    """The body of that process."""
    load_object(found, noun, instance=instance)
    yield True


def _imported(found: Found) -> ModuleType:
    """The module; that of a file is imported anew when the file has changed."""
    if not found.in_file:
        return importlib.import_module(found.module)
    assert found.source is not None
    return _executed(found.source, read_bytes(found.source), _code_of(found))


def _code_of(found: Found) -> str:
    """What changes when a module beside the file does."""
    try:
        return code_digest(found)
    except PluginError:  # a file that is not Python, which its import will say
        return ""


@functools.cache
def _executed(source: Path, code: bytes, all_code: str) -> ModuleType:
    """Import a file under a name of its own, so that two files called mine.py do not meet.

    ``all_code`` stands for the modules beside it.
    """
    # The same name in every process, so that workers can unpickle what the file defines.
    name = f"{FILE_PREFIX}{source.stem}_{digest(str(source), 12)}"
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    forget(source.parent)
    vars(module)["__builtins__"] = builtins_for(source.parent)
    try:
        # Not through the loader: its byte code may be that of an edit within the same second.
        exec(compile(code, source, "exec"), module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
