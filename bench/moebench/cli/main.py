"""``moebench``: commands are found by name and imported when called, so that ``--help`` costs nothing."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from moebench import __version__
from moebench.errors import MoebenchError
from moebench.text import PIPE_WIDTH, printable

COMPLETION = "_MOEBENCH_COMPLETE"
"""The variable by which a shell asks click to complete a word."""

COMMANDS = {
    "run": "Train what is missing of a suite, then print its leaderboard.",
    "plan": "Say what a run would do: what is cached, what is missing, how long it takes.",
    "leaderboard": "Print the leaderboard of a suite that has run.",
    "compare": "Say which rows of one result set are better or worse than in another.",
    "report": "Write the report of a suite that judges claims, such as paper.",
    "list": "List variants, suites, tasks, hosts, measures, studies, backends and compressors.",
    "check": "Hold a variant to the contract.",
    "subset": "Use a few experts of a trained model for each input: what it keeps, and what it costs.",
    "compress": "Merge or prune the experts of a trained sparse model: what is left, and what it saves.",
    "sample": "Print what a trained language model writes after a prompt.",
    "new": "Write a working plug-in package.",
    "publish": "Write a suite's records and boards for others to read and check.",
    "site": "Write a static site of all published boards.",
    "verify": "Check what was published, and run some of it again.",
    "sync": "Write finished runs to MLflow.",
    "ui": "Open the MLflow UI on the results.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from moebench.cli.help import add_help
        from moebench.cli.hints import remember_call
        from moebench.cli.verbosity import add_levels

        command: click.Command = import_module(f"moebench.cli.{cmd_name}").command
        add_levels(cmd_name, command)
        add_help(cmd_name, command)
        remember_call(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from moebench.errors import UnknownNameError

            raise UnknownNameError("command", name, COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": PIPE_WIDTH})
@click.version_option(__version__, prog_name="moebench")
def cli() -> None:
    """Which expert layer is better at this parameter budget, how sure are we, and what does it cost?"""
    from moebench.plugins.imports import load_apart_first

    load_apart_first()


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit status 2."""
    try:
        width: dict[str, Any] = {} if sys.stdout.isatty() else {"terminal_width": PIPE_WIDTH}
        code = cli.main(prog_name="moebench", standalone_mode=False, **width)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.ClickException as error:
        _say(error.format_message())
        code = 2
    except MoebenchError as error:
        _say(str(error))
        _say_where(error)
        code = 2
    except SystemExit as ended:  # of a plug-in: none of ours ends the program
        # But click does, once it has completed a word, or whoever reads the output has gone.
        if COMPLETION in os.environ or isinstance(ended.__context__, BrokenPipeError):
            raise
        _say(f"a plug-in ended the command (SystemExit, status {ended.code}).")
        code = 2
    except (click.Abort, KeyboardInterrupt) as error:
        why = error.__cause__ or error  # click makes an Abort of it
        _say(str(why) or "stopped at once; finished runs are kept, and the same command goes on from here.")
        code = getattr(why, "code", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _say_where(error: MoebenchError) -> None:
    """The author's lines that it came from; with ``--debug`` everything that Python knows of it."""
    level = sys.modules.get("moebench.cli.verbosity")  # no command was found without it
    debug = level is not None and level.is_debug()
    if debug:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
    if "frames" in error.facts:
        from moebench.frames import short_traceback

        for line in short_traceback(error.facts["frames"], whole=debug):
            click.echo(line, err=True)


def _say(message: str) -> None:
    if "`moebench " in message:
        from moebench.cli.hints import pasteable

        message = pasteable(message, _command)
    click.echo(f"moebench: {printable(message)}", err=True)


def _command(name: str) -> click.Command | None:
    """One that a sentence names."""
    return cli.get_command(click.Context(cli), name)
