"""How much every command prints: ``--quiet``, ``--verbose``, ``--debug``.

What is read and done is logged by the modules that do it, to the logger ``moebench``, as any Python program may show
it; ``--verbose`` prints it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import click

from moebench.text import printable

LEVELS = {
    "quiet": "Print results, warnings and errors alone.",
    "verbose": "Also print what is read and written, where, and after how many seconds.",
    "debug": "Print whole tracebacks.",
}
"""The option of each level, and what it does where a command does not say it better."""

ONLY_RESULTS = frozenset({"plan", "compare", "report", "list", "subset", "compress", "sample", "site"})
"""Commands that print nothing but their result, so that none of it can be left out: they have no ``--quiet``."""

_GIVEN = set[str]()


def level(name: str, says: str, *names: str) -> Callable[[Any], Any]:
    """The option of a level for a command that says better what it does there. names: others of the option."""
    return click.option(f"--{name}", *names, is_flag=True, expose_value=False, callback=_remember(name), help=says)


def add_levels(name: str, command: click.Command) -> None:
    """Give a command the options that it does not have itself."""
    known = {option for parameter in command.params for option in parameter.opts}
    for each, says in LEVELS.items():
        if f"--{each}" not in known and not (each == "quiet" and name in ONLY_RESULTS):
            level(each, says)(command)


def _remember(name: str) -> Any:
    def callback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        (_GIVEN.add if value else _GIVEN.discard)(name)
        if value and name == "verbose":
            _print_log(context)

    return callback


def _print_log(context: click.Context) -> None:
    """Print what is logged until the command has ended, and when that was."""
    logger, handler = logging.getLogger("moebench"), _Printed()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def ended() -> None:
        logger.info("%s has ended", context.info_name)
        logger.removeHandler(handler)
        logger.setLevel(before)

    context.call_on_close(ended)


class _Printed(logging.Handler):
    """A line for each message, with the seconds since the command began; none twice, as of a folder with many files."""

    def __init__(self) -> None:
        super().__init__()
        self._began, self._seen = time.monotonic(), set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it, unless it was printed already."""
        message = record.getMessage()
        if message not in self._seen:
            self._seen.add(message)
            click.echo(f"{time.monotonic() - self._began:7.2f} s  {printable(message)}", err=True)


def note(text: str, *, err: bool = False) -> None:
    """Print what is neither a result nor a warning: progress, hints, where else to look; nothing with ``--quiet``."""
    if not is_quiet():
        click.echo("\n".join(map(printable, text.splitlines())), err=err)


def is_quiet() -> bool:
    """Whether ``--quiet`` was given."""
    return "quiet" in _GIVEN


def is_verbose() -> bool:
    """Whether ``--verbose`` was given."""
    return "verbose" in _GIVEN


def is_debug() -> bool:
    """Whether ``--debug`` was given."""
    return "debug" in _GIVEN
