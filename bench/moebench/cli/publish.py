"""``moebench publish``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from moebench.cli.options import results_option
from moebench.cli.verbosity import note


@click.command("publish")
@click.argument("suite", required=False)
@results_option
@click.option(
    "--to",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where it goes, by suite and device; default: `published` in the results directory.",
)
@click.option("--replace", is_flag=True, help="Also replace a board that has rows which these results lack.")
def command(suite: str | None, results: Path, root: Path | None, replace: bool) -> None:
    """Write the records and boards of SUITE (or of the suite that ran last) for others to read and check.

    Rows without a result on every task and budget are left out, and named.
    """
    from moebench.publish import open_results, publish, write_index
    from moebench.publish.index import NAME

    root = root or results / "published"
    done = publish(open_results(results, suite), root, replace=replace)
    for name, reason in done.left_out:
        click.echo(f"moebench: '{name}' is left out: {reason}", err=True)
    click.echo(f"{done.rows} rows, {done.records} records: {done.directory}")
    for name, checked in done.conformance.items():
        click.echo(f"checks {name}  {checked}")
    index = write_index(root)
    note(f"index  {index or f'{root / NAME} is no index, and was left as it is'}")
    if done.forgotten:
        click.echo("the re-runs of the board before were of other records, and are removed: verify this one.")
    note(f"check  moebench verify {shlex.quote(str(done.directory))}")
