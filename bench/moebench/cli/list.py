"""``moebench list``: what there is, read without importing any of it."""

from __future__ import annotations

import click

KINDS = ["variants", "suites", "tasks", "hosts", "measures", "studies", "backends", "compressors"]


@click.command("list")
@click.argument("what", required=False, metavar="[KIND]")
@click.option("--load", is_flag=True, help="Import each plug-in, to see whether it works.")
def command(what: str | None, load: bool) -> None:
    """List variants, suites, tasks, hosts, measures, studies, backends and compressors, or one of these."""
    from moebench.cli.listing import fitted, table
    from moebench.errors import UnknownNameError
    from moebench.text import plain_console

    if what is not None and what not in KINDS:
        raise UnknownNameError("kind of thing to list", what, KINDS)
    console = plain_console()
    for kind in KINDS if what is None else [what]:
        console.print(fitted(table(kind, load=load), console.width))
