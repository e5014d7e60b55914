"""``moebench``: commands are found by name and imported when called, so that ``--help`` costs nothing."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from moebench import __version__
from moebench.errors import MoebenchError
from moebench.text import printable

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
        command: click.Command = import_module(f"moebench.cli.{cmd_name}").command
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


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="moebench")
def cli() -> None:
    """Which expert layer is better at this parameter budget, how sure are we, and what does it cost?"""
    from moebench.plugins.imports import load_apart_first

    load_apart_first()


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit status 2."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.ClickException as error:
        _say(error.format_message())
        code = 2
    except MoebenchError as error:
        _say(str(error))
        code = 2
    except SystemExit as ended:  # of a plug-in: none of ours ends the program
        _say(f"a plug-in ended the command (SystemExit, status {ended.code}).")
        code = 2
    except (click.Abort, KeyboardInterrupt) as error:
        why = error.__cause__ or error  # click makes an Abort of it
        _say(str(why) or "stopped at once; finished runs are kept, and the same command goes on from here.")
        code = getattr(why, "code", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _say(message: str) -> None:
    click.echo(f"moebench: {printable(message)}", err=True)
