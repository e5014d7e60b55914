"""``moebench plan SUITE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moebench.cli.options import check_full, full_option, request_options


@click.command("plan")
@click.argument("suite")
@request_options
@full_option
def command(suite: str, results: Path, full: bool, **options: Any) -> None:
    """Say what a run of SUITE would do: what is cached, what is missing, and about how long it takes."""
    from rich.console import Console

    from moebench.cli.reporting import plan_table
    from moebench.planning.cache import get_plan
    from moebench.planning.request import Request
    from moebench.session import prepare
    from moebench.suites import Suite
    from moebench.sweeps.load import load_any

    request = Request(suite=suite, **options)
    if not isinstance(load_any(suite), Suite):
        from moebench.cli.sweeping import sweep_tables

        for table in sweep_tables(request, results, full=full):
            Console().print(table, soft_wrap=True)
        return
    check_full(suite, full)
    plan = get_plan(prepare(request, results), results)
    Console().print(plan_table(plan, results), soft_wrap=True)
