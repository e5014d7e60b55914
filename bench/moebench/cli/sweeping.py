"""What ``run`` and ``plan`` print for sweeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from moebench.execution.progress import Progress
from moebench.planning.request import Request
from moebench.session import How

if TYPE_CHECKING:
    from moebench.sweeps.plan import SweepPlan


def run_and_print(request: Request, how: How, progress: Progress, console: Console, *, full: bool, quiet: bool) -> int:
    """Run the sweeps of a request; returns the exit status."""
    from moebench.sweeps.session import run_sweeps

    def say(plan: SweepPlan, workers: int) -> None:
        if not quiet:
            console.print(Text(f"{heading(plan)}, {workers} worker{'s' * (workers > 1)}", style="bold"), soft_wrap=True)

    session = run_sweeps(request, how, progress, full=full, on_part=say)
    if session.unfinished:
        table = Table(title=f"{len(session.unfinished)} not done", title_justify="left", box=None, pad_edge=False)
        for name in ("run", "status", "reason"):
            table.add_column(name, overflow="fold")
        for label, status, reason in session.unfinished:
            table.add_row(Text(label), status, Text(reason))
        console.print(table)
    return 1 if session.unfinished else 0


def heading(plan: SweepPlan) -> str:
    """One line: the part, its form, how much there is, and where it runs."""
    form = "full form" if plan.full else "reduced form"
    measures = len(plan.derived) + len(plan.alone)
    return f"{plan.sweep.name}  {form}: {len(plan.finals)} training runs, {measures} measures  {plan.device['name']}"


def sweep_tables(request: Request, results: Path, *, full: bool) -> Iterator[RenderableType]:
    """For each part what is cached of each row's runs and measures."""
    from moebench.execution.run_plan import Records
    from moebench.execution.schedule import settled
    from moebench.runs import Store
    from moebench.sweeps.session import plan_sweeps

    lookup = Records(Store(results))
    for plan in plan_sweeps(request, full=full):
        table = Table(box=None, pad_edge=False)
        table.add_column("row")
        table.add_column("training runs", justify="right")
        table.add_column("measures", justify="right")
        measures = (*plan.derived, *plan.alone)
        of_row = [Counter(work.row for work in works) for works in (plan.finals, measures)]
        done = [
            Counter(work.row for work in works if settled(lookup(work.cell.identity)))
            for works in (plan.finals, measures)
        ]
        for row in dict.fromkeys(work.row for work in plan.works):
            table.add_row(
                Text(row), *(f"{d[row]}/{n[row]}" if n[row] else "-" for d, n in zip(done, of_row, strict=True))
            )
        yield Group(Text(heading(plan), style="bold"), table)
