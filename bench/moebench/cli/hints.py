"""Commands in sentences, such as `moebench run quick`, as they can be pasted: with the options that this call had."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

CARRIED = (
    *("results", "variants", "seeds", "trials", "micro_batch", "device", "backend", "data", "full", "workers", "ranks"),
    *(
        "executor",
        "executor_options",
        "timeout",
        "silence",
        "checkpoint_every",
        "weights",
        "check",
        "mlflow",
        "seconds",
    ),
)
"""Options that say what is run and where: a hint repeats those that were given and that its command has."""

ALONE = ("sync", "ui")
"""Commands that stand for themselves without any word after them; ``moebench publish`` alone is only a name."""

HINT = re.compile(r"`moebench (\w+)( [^`]*)?`")

_call: click.Context | None = None


def remember_call(command: click.Command) -> None:
    """Keep what a command is called with, for the hints in what it prints."""
    callback = command.callback
    if callback is None or getattr(callback, "kept", False):
        return

    @functools.wraps(callback)
    def kept(*args: Any, **options: Any) -> Any:
        global _call
        _call = click.get_current_context()
        return callback(*args, **options)

    kept.kept = True  # type: ignore[attr-defined]
    command.callback = kept


def pasteable(text: str, known: Callable[[str], click.Command | None]) -> str:
    """The text, its commands with what was given to this call. known: a command by its name."""

    def whole(match: re.Match[str]) -> str:
        name, words = match[1], match[2] or ""
        command = known(name) if words.strip() or name in ALONE else None
        if command is None:
            return match[0]
        return f"`moebench {name}{words}{''.join(f' {word}' for word in _given(command, words))}`"

    return HINT.sub(whole, text) if _call is not None else text


def command_line(name: str, first: str, changed: Mapping[str, Any]) -> str:
    """``moebench NAME FIRST`` with the options that were given to this call; ``changed`` by the option's name."""
    command = import_module(f"moebench.cli.{name}").command
    own = [word for parameter in _options(command, changed) for word in _words(parameter, changed[parameter.name])]
    called = [f"--{key.replace('_', '-')}" for key in changed]
    return " ".join(["moebench", name, shlex.quote(first), *_given(command, " ".join(called)), *own])


def _options(command: click.Command, names: Mapping[str, Any] | tuple[str, ...]) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option) and each.name in names]


def _given(command: click.Command, words: str) -> Iterator[str]:
    """The options of this call that a command has, too, and that its words lack."""
    if _call is None:
        return
    there = set(words.split())
    for option in _options(command, CARRIED):
        name = str(option.name)
        given = name in _call.params and _call.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and not there.intersection(option.opts):
            yield from _words(option, _call.params[name])


def _words(option: click.Option, value: Any) -> Iterator[str]:
    for each in value if option.multiple else [value]:
        if option.is_flag:
            yield (option.opts if each else option.secondary_opts)[0]
        else:
            yield f"{option.opts[0]} {shlex.quote(str(each))}"
