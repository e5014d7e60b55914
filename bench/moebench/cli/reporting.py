"""What ``run`` and ``plan`` print around the board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from moebench.board.words import counted
from moebench.execution.executors.local import local_workers
from moebench.execution.run_plan import Records
from moebench.planning.estimate import LATENCY_SECONDS, missing_latency, missing_runs, tally
from moebench.planning.plan import Plan
from moebench.runs import Store

if TYPE_CHECKING:
    from moebench.session import Session


def heading(plan: Plan, workers: int) -> str:
    """One line: suite, protocol, tasks, budget, axis and device."""
    suite = plan.suite
    budgets = ", ".join(f"{budget:,}" for budget in suite.budgets)
    threads = suite.training.threads
    plural = "s" * (threads > 1)
    return (
        f"{suite.name}  protocol {plan.protocol}  {', '.join(suite.task_names)}  {budgets} {counted(suite.axis)}  "
        f"{plan.device['name']}, {workers} worker{'s' * (workers > 1)} x {threads} thread{plural}"
    )


def amounts(plan: Plan, results: Path, workers: int) -> str:
    """One line: rows, runs, how many of them are cached, and about how long the rest takes."""
    lookup = Records(Store(results))
    groups = tally(plan, lookup)
    trials, finals = sum(t.trials[0] for t in groups), sum(t.finals[0] for t in groups)
    sessions = len(plan.suite.task) * len(plan.suite.budgets)
    missing = missing_runs(plan, lookup)
    seconds = sum(t.seconds for t in groups) / workers + missing_latency(plan, lookup) * LATENCY_SECONDS
    rough = " (a rough guess)" if any(t.guessed and t.seconds for t in groups) else ""
    time = f", about {duration(seconds)}{rough}" if missing else ""
    cached = trials + finals + sessions - missing
    return (
        f"{rows_said(plan)}: {trials} trials, {finals} finals, "
        f"{sessions} latency session{'s' * (sessions > 1)}   {cached} cached, {missing} to run{time}"
    )


def rows_said(plan: Plan) -> str:
    """The rows that this run works on: all of them by their kind, or how many of how many."""
    rows, selected = len(plan.rows), sum(row.selected for row in plan.rows)
    if selected < rows:
        return f"{selected} of {rows} rows"
    references = sum(row.reference for row in plan.rows)
    return f"{rows - references} variants + {references} references"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def opening(console: Console) -> Callable[[Plan, int, Path], None]:
    """Says, once the plan is made, what will be compared and how much there is to do."""

    def say(plan: Plan, workers: int, results: Path) -> None:
        console.print(Text(heading(plan, workers), style="bold"), soft_wrap=True)
        console.print(f"plan   {amounts(plan, results, workers)}", highlight=False, markup=False, soft_wrap=True)

    return say


def plan_table(plan: Plan, results: Path) -> RenderableType:
    """The plan as a table: a row for each study, what is cached and what is missing."""
    lookup = Records(Store(results))
    workers = local_workers(None, plan.suite.training.threads, plan.device["torch"])
    table = Table(box=None, pad_edge=False)
    for name in ("row", "task"):
        table.add_column(name)
    for name in ("budget", "trials", "finals", "time on one worker"):
        table.add_column(name, justify="right")
    for t in tally(plan, lookup):
        time = duration(t.seconds) if t.seconds else "-"
        table.add_row(Text(t.group.row), t.group.task, f"{t.group.amount:,}", _of(t.trials), _of(t.finals), time)
    cannot = [Text.assemble((f"{row}  ", "bold"), (reason, "red")) for row, reason in problems(plan)]
    return Group(Text(heading(plan, workers), style="bold"), Text(amounts(plan, results, workers)), table, *cannot)


def problems(plan: Plan) -> list[tuple[str, str]]:
    """(row, reason) for every selected row, or study of it, that cannot run."""
    rows = [(row.name, row.problem) for row in plan.rows if row.selected and row.problem]
    selected = {row.name for row in plan.rows if row.selected}
    groups = [
        (f"{group.row} {group.task}", group.problem) for group in plan.groups if group.problem and group.row in selected
    ]
    return rows + groups


def _of(counts: tuple[int, int]) -> str:
    """How many are cached of how many."""
    total, settled = counts
    return f"{settled}/{total}"


def not_done(unfinished: Sequence[tuple[str, str, str]]) -> Table:
    """(run, status, reason) of what has no result."""
    table = Table(title=f"{len(unfinished)} not done", title_justify="left", box=None, pad_edge=False)
    for name in ("run", "status", "reason"):
        table.add_column(name, overflow="fold")
    for label, status, reason in unfinished:
        table.add_row(Text(label), status, Text(reason))
    return table


def print_session(session: Session, *, quiet: bool) -> int:
    """Print the board, where the pages are, and what is not done; returns the exit status."""
    from moebench.board import print_board, to_table

    out, err = Console(), Console(stderr=True)
    if out.is_terminal:
        print_board(session.board, out)
    else:
        click.echo(to_table(session.board), nl=False)
    for warning in session.warnings:
        err.print(Text(warning, style="yellow"), soft_wrap=True)
    unfinished = session.unfinished
    if unfinished:
        err.print(not_done(unfinished))
    if not quiet:
        out.print(f"board  {session.pages / 'board.html'}    MLflow: moebench ui", highlight=False, soft_wrap=True)
    return 1 if unfinished else 0
