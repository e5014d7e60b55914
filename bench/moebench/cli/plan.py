"""``moebench plan SUITE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moebench.cli.options import request_options


@click.command("plan")
@click.argument("suite")
@request_options
def command(suite: str, results: Path, **options: Any) -> None:
    """Say what a run of SUITE would do: what is cached, what is missing, and about how long it takes."""
    from rich.console import Console

    from moebench.cli.reporting import plan_table
    from moebench.planning.cache import get_plan
    from moebench.planning.request import Request
    from moebench.session import prepare

    plan = get_plan(prepare(Request(suite=suite, **options), results), results)
    Console().print(plan_table(plan, results), soft_wrap=True)
