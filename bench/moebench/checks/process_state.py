"""The global state of a Python process that trains: read it, restore it, and name what has changed."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from moebench.plugins.torch_settings import TORCH_SETTINGS, Global

OF_COMPILERS = frozenset(
    [
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
        "TRITON_PTXAS_PATH",
        "TRITON_LIBDEVICE_PATH",
        "KMP_DUPLICATE_LIB_OK",
    ]
)
"""Variables that torch sets itself when it compiles: where its tools and caches are."""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OF_COMPILERS}


def _set_environment(values: dict[str, str]) -> None:
    for name in set(_environment()) - set(values):
        del os.environ[name]
    os.environ.update({name: value for name, value in values.items() if os.environ.get(name) != value})


def _comparable(state: Any) -> tuple[Any, ...]:
    """A state of NumPy's generator with its array as bytes, so that two states can be compared."""
    kind, keys, *rest = state
    return (str(kind), keys.tobytes(), *rest)


def _set_numpy_state(state: tuple[Any, ...]) -> None:
    kind, keys, *rest = state
    np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *rest))


PYTHON_RANDOM = Global("Python's random state", random.getstate, random.setstate, random.Random(7919).getstate())
NUMPY_RANDOM = Global(
    "NumPy's random state",
    lambda: _comparable(np.random.get_state(legacy=True)),
    _set_numpy_state,
    _comparable(np.random.RandomState(7919).get_state(legacy=True)),
)
ENVIRONMENT = Global("the environment", _environment, _set_environment, None)
DIRECTORY = Global("the working directory", os.getcwd, os.chdir, tempfile.gettempdir())
EVERYTHING = (PYTHON_RANDOM, NUMPY_RANDOM, ENVIRONMENT, DIRECTORY, *TORCH_SETTINGS)


@contextmanager
def untouched() -> Iterator[None]:
    """Put everything global back at the end, torch's default generator included."""
    before = [(thing, thing.read()) for thing in EVERYTHING]
    generator = torch.get_rng_state()
    try:
        yield
    finally:
        for thing, value in before:
            if thing.read() != value:
                thing.write(value)
        torch.set_rng_state(generator)


def changed_value(thing: Global, before: Any) -> str:
    """What a global thing has become, in words; empty if it is as it was."""
    now = thing.read()
    if now == before:
        return ""
    if isinstance(now, dict):
        names = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
        return f"{thing.name} ({', '.join(names)})"
    if thing.name.endswith("random state"):
        return thing.name
    return f"{thing.name} (from {before} to {now})"


@contextmanager
def environment_writes() -> Iterator[set[str]]:
    """Names of environment variables that are set meanwhile, even to the value they had, but for those of compilers."""
    written: set[str] = set()
    genuine = os.putenv

    def putenv(name: Any, value: Any) -> None:
        if os.fsdecode(name) not in OF_COMPILERS:
            written.add(os.fsdecode(name))
        genuine(name, value)

    os.putenv = putenv
    try:
        yield written
    finally:
        os.putenv = genuine
