"""``moebench plan SUITE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moebench.cli.options import full_option, request_options


@click.command("plan")
@click.argument("suite")
@request_options
@full_option
def command(suite: str, results: Path, **options: Any) -> int:
    """Print what a run of SUITE would do: what is cached, what is missing, and about how long it takes.

    A part of it that is optional is left out where its data set is not there. Exit status: 1 where none of it can run.
    """
    from moebench.cli.reporting import plan_tables
    from moebench.experiment import left_out_said, prepare
    from moebench.plans.cache import get_plan, plan_all
    from moebench.suites.request import ask
    from moebench.text import plain_console

    requests = prepare(ask(suite, **options), results, writes=False)
    plans, left_out = plan_all(requests, lambda request: get_plan(request, results))
    for table in plan_tables(plans, results):
        plain_console().print(table, soft_wrap=True)
    for name, error in left_out.items():
        click.echo(left_out_said(name, error), err=True)
    return 0 if any(plan.expected_runs() for plan in plans) else 1
