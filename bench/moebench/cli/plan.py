"""``moebench plan SUITE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moebench.cli.options import HOW, how_options, request_options

if TYPE_CHECKING:
    from moebench.plans.plan import Plan
    from moebench.suites.request import Request


@click.command("plan")
@click.argument("suite")
@request_options
@how_options
def command(suite: str, results: Path, workers: int | None, reuse: tuple[Path, ...], **options: Any) -> int:
    """Print what a run of SUITE would do: what is cached, what is missing, and about how long it takes.

    It takes the options of run. A part that is optional is left out where its data set is not there; where another data
    set is not there, the plan says so. Exit status: 1 where none of it can run.
    """
    from dataclasses import replace

    from moebench.cli.reporting import plan_tables
    from moebench.errors import DataError
    from moebench.experiment import left_out_said, prepare
    from moebench.plans.cache import get_plan, plan_all
    from moebench.suites.request import ask
    from moebench.text import plain_console

    asked = {name: value for name, value in options.items() if name not in HOW}
    requests = prepare(ask(suite, **asked), results, writes=False)
    missing = list[str]()

    def planned(request: Request) -> Plan:
        try:
            return get_plan(request, results)
        except DataError as error:
            if request.optional or error.code != "data-missing":
                raise
            missing.append(str(error))
            return get_plan(replace(request, without_data=True), results)

    try:
        plans, left_out = plan_all(requests, planned)
    except DataError as error:
        if error.code != "data-missing":
            raise
        # Every part is optional, and the data set of none is here.
        plans, left_out = plan_all([replace(request, optional=False) for request in requests], planned)
    for table in plan_tables(plans, results, workers, reuse):
        plain_console().print(table, soft_wrap=True)
    for name, reason in left_out.items():
        click.echo(left_out_said(name, reason), err=True)
    for why in dict.fromkeys(missing):
        click.echo(f"data not found here, so nothing of it counts as cached: {why}", err=True)
    return 0 if not missing and any(plan.expected_runs() for plan in plans) else 1
