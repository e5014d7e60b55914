"""``moebench check VARIANT ...``: is a variant what it says it is?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moebench.cli.verbosity import is_quiet, is_verbose, level

if TYPE_CHECKING:
    from rich.console import Console

    from moebench.checks import CheckReport


@click.command("check")
@click.argument("variants", metavar="VARIANT...", nargs=-1, required=True)
@click.option("--only", multiple=True, metavar="NAME", help="Run this check alone; -v lists the names. Repeatable.")
@level("verbose", "Also show the checks that hold or do not apply, and why, and what is read.", "-v")
@click.pass_context
def command(context: click.Context, variants: tuple[str, ...], only: tuple[str, ...]) -> None:
    """Check each VARIANT, a name or path.py:Class, against the contract.

    Exits with 0 if every check holds, with 1 if one does not.
    """
    from moebench.checks.run import chosen_checks, loader
    from moebench.text import plain_console

    # All words are read before the first check runs, so that a wrong one costs no time.
    names = chosen_checks(only or None)
    for variant in variants:
        loader(variant)
    console = plain_console()
    status = 0
    for variant in variants:
        report = _watched(variant, names)
        _show(console, report)
        status = status if report.holds else 1
    context.exit(status)


def _watched(variant: str, names: list[str]) -> CheckReport:
    """Run the checks; on a terminal, without ``--quiet``, a line says which one is running."""
    from rich.text import Text

    from moebench.checks.run import run_checks
    from moebench.text import plain_console

    if is_quiet():
        return run_checks(variant, names)
    with plain_console(stderr=True).status(Text(f"{variant}  loading")) as status:
        return run_checks(
            variant,
            names,
            on_start=lambda name: status.update(Text(f"{variant}  {names.index(name) + 1}/{len(names)}  {name}")),
        )


def _show(console: Console, report: CheckReport) -> None:
    """The heading, the failures, and what is worth a note."""
    console.print(report.summary, style="bold", soft_wrap=True)
    if report.problem:
        _rows(console, [("import", report.problem)])
        return
    from moebench.text import counted_noun

    _rows(console, [(row.name, row.message) for row in report.failures])
    if report.untried:
        _rows(console, [("", f"{counted_noun(report.untried, 'check')} not tried, because they rest on it.")])
    _rows(console, [(f"note: {row.name}", note) for row in report.rows for note in row.notes])
    if is_verbose():
        other = {"holds": "holds", "not applicable": "does not apply: "}
        rest = [row for row in report.rows if row.outcome != "fails"]
        _rows(console, [(row.name, other[row.outcome] + row.message) for row in rest])


def _rows(console: Console, rows: list[tuple[str, str]]) -> None:
    """Two columns, the second wrapped to the width of the terminal."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    if rows:
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
