"""How much every command prints: ``--quiet``, ``--verbose``, ``--debug``."""

from __future__ import annotations

from typing import Any

import click

LEVELS = {"quiet": "Print the result only.", "verbose": "Print more.", "debug": "Print whole tracebacks."}
"""The option of each level, and what it does where a command does not say it better."""

_GIVEN = set[str]()


def add_levels(command: click.Command) -> None:
    """Give a command the options that it does not have itself."""
    known = {option for parameter in command.params for option in parameter.opts}
    for name, says in LEVELS.items():
        if f"--{name}" not in known:
            command.params.append(
                click.Option([f"--{name}"], is_flag=True, expose_value=False, callback=_remember(name), help=says)
            )


def _remember(name: str) -> Any:
    def callback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        (_GIVEN.add if value else _GIVEN.discard)(name)

    return callback


def is_quiet() -> bool:
    """Whether ``--quiet`` was given to a command without one of its own."""
    return "quiet" in _GIVEN


def is_verbose() -> bool:
    """Whether ``--verbose`` was given to a command without one of its own."""
    return "verbose" in _GIVEN


def is_debug() -> bool:
    """Whether ``--debug`` was given."""
    return "debug" in _GIVEN
