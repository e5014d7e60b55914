"""``moebench site``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("site")
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--published",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/published"),
    show_default=True,
    metavar="DIR",
    help="Where the boards were published.",
)
def command(directory: Path, root: Path) -> None:
    """Write a static site of all published boards into DIR.

    It has an index to search, a page for each row with all its results, a log, and the boards. The log of an earlier
    site in DIR is continued.
    """
    from moebench.publish.site import write_site

    pages = write_site(root, directory)
    click.echo(f"{len(pages)} pages: {directory / 'index.html'}")
