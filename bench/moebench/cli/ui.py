"""``moebench ui``."""

from __future__ import annotations

from pathlib import Path

import click

from moebench.cli.options import Whole, results_option
from moebench.cli.verbosity import note


@click.command("ui")
@results_option
@click.option("--port", type=Whole(1, 65535), default=5000, show_default=True, metavar="N")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name by which browsers ask for this machine, such as that of a proxy. Repeatable.",
)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
def command(results: Path, port: int, host: str, allowed_hosts: tuple[str, ...], opens: bool) -> None:
    """Run the MLflow UI on the results, until Ctrl-C, and say where the boards are."""
    from moebench.mlflow_store.serve import serve, server_address
    from moebench.plans.history import board_pages

    for page in board_pages(results):
        note(f"board   {page}")
    elsewhere = server_address(results)
    if elsewhere:
        click.echo(f"MLflow  {elsewhere}")
        _open(elsewhere, opens)
    else:

        def ready(url: str) -> None:
            _say(url)
            _open(url, opens)

        serve(results, host, port, ready, allowed_hosts)


def _open(url: str, opens: bool) -> None:
    if opens:
        import webbrowser

        webbrowser.open(url)


def _say(url: str) -> None:
    click.echo(f"MLflow  {url}/moebench/mlflow  (Ctrl-C ends it)")
    note(f"boards  {url}/moebench/")
