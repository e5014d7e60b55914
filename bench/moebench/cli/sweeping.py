"""What ``run`` and ``plan`` print for sweeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from moebench.board import Measure
from moebench.board.numbers import with_interval
from moebench.cli.reporting import duration, not_done
from moebench.execution.executors.local import local_workers
from moebench.execution.progress import Progress
from moebench.execution.run_plan import Records
from moebench.planning.plan import Lookup
from moebench.planning.request import Request
from moebench.runs import Store, is_settled
from moebench.session import How
from moebench.statistics import mean_interval
from moebench.sweeps.estimate import left
from moebench.tasks import get_task

if TYPE_CHECKING:
    from moebench.sweeps.plan import SweepPlan


def run_and_print(request: Request, how: How, progress: Progress, console: Console, *, full: bool, quiet: bool) -> int:
    """Run the sweeps of a request; returns the exit status."""
    from moebench.session.sweep import run_sweeps

    def say(plan: SweepPlan, workers: int) -> None:
        if not quiet:
            console.print(Text(heading(plan, workers), style="bold"), soft_wrap=True)
            amounts = remaining(plan, Records(Store(how.results)), workers)
            console.print(f"plan   {amounts}", highlight=False, soft_wrap=True)

    session = run_sweeps(request, how, progress, full=full, on_part=say)
    out = Console()
    for plan in session.plans:
        out.print(scores_table(plan, Store(how.results)))
    for warning in session.warnings:
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    if session.unfinished:
        console.print(not_done(session.unfinished))
    if session.report is not None and not quiet:
        out.print(f"report  {session.report}    MLflow: moebench ui", highlight=False, soft_wrap=True)
    return 1 if session.unfinished else 0


def scores_table(plan: SweepPlan, store: Store) -> Table:
    """Every trained row: the test score as a mean over its seeds with the interval, and its parameters."""
    table = Table(title=plan.sweep.name, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("row")
    for name in ("seeds", "test score", "parameters"):
        table.add_column(name, justify="right")
    for row in dict.fromkeys(work.row for work in plan.finals):
        found = [store.get(work.cell.identity) for work in plan.finals if work.row == row]
        done = [record for record in found if record is not None and record.status == "done"]
        if done:
            score = f"test_{get_task(done[0].cell['task']).info.ranked_by.name}"
            values = [record.scores[score] for record in done]
            interval = mean_interval([[value] for value in values if value is not None])
            text = (
                f"{score.removeprefix('test_')} {with_interval(Measure(interval.value, interval.low, interval.high))}"
            )
            table.add_row(Text(row), str(len(done)), text, f"{done[0].counts['total_params']:,}")
    return table


def heading(plan: SweepPlan, workers: int) -> str:
    """One line: the part, its form, how much there is, and where it runs."""
    form = "full form" if plan.full else "reduced form"
    measures = len(plan.derived) + len(plan.alone)
    where = f"{plan.device['name']}, {workers} worker{'s' * (workers > 1)}"
    return f"{plan.sweep.name}  {form}: {len(plan.finals)} training runs, {measures} measures  {where}"


def remaining(plan: SweepPlan, lookup: Lookup, workers: int) -> str:
    """One line: what is cached, what is to run, and about how long that takes."""
    rest = left(plan, lookup)
    counted = f"{len(plan.works) - rest.runs} cached, {rest.runs} to run"
    if not rest.runs:
        return counted
    rough = " (a rough guess)" if rest.guessed else ""
    without = f", without {rest.unseen} measures of a kind that has not run yet" if rest.unseen else ""
    return f"{counted}, about {duration(rest.on(workers))}{rough}{without}"


def sweep_tables(request: Request, results: Path, *, full: bool) -> Iterator[RenderableType]:
    """For each part what is cached of each row's runs and measures, and how long the rest takes."""
    from moebench.sweeps.parts import plan_sweeps

    lookup = Records(Store(results))
    plans, planned, seconds = plan_sweeps(request, full=full), set[str](), 0.0
    for plan in plans:
        table = Table(box=None, pad_edge=False)
        table.add_column("row")
        table.add_column("training runs", justify="right")
        table.add_column("measures", justify="right")
        measures = (*plan.derived, *plan.alone)
        of_row = [Counter(work.row for work in works) for works in (plan.finals, measures)]
        done = [
            Counter(work.row for work in works if is_settled(lookup(work.cell.identity)))
            for works in (plan.finals, measures)
        ]
        for row in dict.fromkeys(work.row for work in plan.works):
            table.add_row(
                Text(row), *(f"{d[row]}/{n[row]}" if n[row] else "-" for d, n in zip(done, of_row, strict=True))
            )
        workers = local_workers(None, plan.sweep.training.threads, plan.device["torch"])
        seconds += left(plan, lookup, planned).on(workers)
        planned |= {work.cell.identity for work in plan.works}
        yield Group(Text(heading(plan, workers), style="bold"), Text(remaining(plan, lookup, workers)), table)
    if len(plans) > 1 and seconds:
        yield Text(f"{len(plans)} parts: about {duration(seconds)} in all", style="bold")
