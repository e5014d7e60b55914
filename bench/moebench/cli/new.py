"""``moebench new NAME``: a plug-in package to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from moebench.cli.verbosity import note


@click.command("new")
@click.argument("name")
@click.option(
    "--to",
    "--directory",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to write it: a new or empty directory.  [default: ./NAME]",
)
def command(name: str, directory: Path | None) -> None:
    """Write a small package with a variant NAME that works as it is: install it, check it, change it."""
    from moebench.plugins.new import class_name, write_package

    files = write_package(name, directory)
    where = directory or Path(name)
    file = shlex.quote(f"{where}/src/{name}/layer.py:{class_name(name)}")
    for path in files:
        click.echo(f"wrote {path}")
    note(f"\nNext:\n  python -m pip install -e {shlex.quote(str(where))}\n  moebench check {name}")
    note(f"or, without installing:\n  moebench check {file}")
