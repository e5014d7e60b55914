"""What ``run`` and ``plan`` print around the board."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from moebench.board import Estimate
from moebench.board.numbers import with_interval
from moebench.board.words import counted
from moebench.cli.options import show
from moebench.plans.estimate import left, tally
from moebench.plans.plan import Lookup, Plan
from moebench.plugins.named import without_digest
from moebench.records import Records, Store, is_settled
from moebench.runner.executors.local import local_workers
from moebench.statistics import mean_interval
from moebench.tasks import get_task
from moebench.text import counted_noun, plain_console

if TYPE_CHECKING:
    from moebench.experiment import ExperimentResult


def heading(plan: Plan, workers: int) -> str:
    """One line: what is run, and where."""
    suite = plan.suite
    where = f"{plan.device['name']}, {counted_noun(workers, 'worker')}"
    if not plan.rows:
        form = "full form" if plan.full else "reduced form"
        runs = sum(work.trained for work in plan.fixed)
        return f"{suite.name}  {form}: {runs} training runs, {plan.expected_measures()} measures  {where}"
    budgets = ", ".join(f"{budget:,}" for budget in suite.budgets)
    threads = suite.training.threads
    tasks = ", ".join(map(without_digest, suite.task_names))
    return (
        f"{suite.name}  protocol {plan.protocol}  {tasks}  {budgets} {counted(suite.axis)}  "
        f"{where} x {counted_noun(threads, 'thread')}"
    )


def amounts(plan: Plan, results: Path, workers: int) -> str:
    """One line: rows, runs, how many of them are cached, and about how long the rest takes."""
    rest = left(plan, Records(Store(results)))
    cached = f"{plan.expected_runs() + plan.sessions - rest.runs} cached, {rest.runs} to run"
    rough = " (a rough guess)" if rest.guessed else ""
    without = f", without {rest.unseen} measures of a kind that has not run yet" if rest.unseen else ""
    time = f", about {duration(rest.on(workers))}{rough}{without}" if rest.runs else ""
    if not plan.rows:
        return cached + time
    groups = plan.selected_groups()
    kinds = {
        "trial": sum(len(group.shared) for group in groups),
        "final": sum(len(group.final_seeds) for group in groups),
        "fixed run": sum(work.trained for work in plan.fixed),
        "measure": plan.expected_measures(),
        "latency session": plan.sessions,
    }
    planned = [counted_noun(n, kind) for kind, n in kinds.items() if n or kind in ("trial", "final")]
    return f"{rows_said(plan)}: {', '.join(planned)}   {cached}{time}"


def rows_said(plan: Plan) -> str:
    """The rows that this run works on: all of them by their kind, or how many of how many."""
    rows, selected = len(plan.rows), sum(row.selected for row in plan.rows)
    if selected < rows:
        return f"{selected} of {rows} rows"
    sizes = rows - len(plan.board_rows)
    references = sum(row.reference for row in plan.board_rows)
    ladder = f" + {counted_noun(sizes, 'dense size')}" if sizes else ""
    return f"{rows - references - sizes} variants + {references} references{ladder}"


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


def plan_tables(plans: Sequence[Plan], results: Path) -> Iterator[RenderableType]:
    """For each suite what is cached and what is missing, and how long the rest takes."""
    lookup, planned, seconds = Records(Store(results)), set[str](), 0.0
    for plan in plans:
        workers = local_workers(None, plan.suite.training.threads, plan.device["torch"])
        seconds += left(plan, lookup, planned).on(workers)
        planned |= {work.cell.identity for work in plan.works(lookup)}
        tables = [table for table in (_studies(plan, lookup), _fixed(plan, lookup)) if table.row_count]
        cannot = [Text.assemble((f"{row}  ", "bold"), (reason, "red")) for row, _, reason in plan.cannot_run()]
        head = Text(heading(plan, workers), style="bold")
        yield Group(head, Text(amounts(plan, results, workers)), *tables, *cannot)
    if len(plans) > 1 and seconds:
        yield Text(f"{len(plans)} parts: about {duration(seconds)} in all", style="bold")


def _studies(plan: Plan, lookup: Lookup) -> Table:
    """A line for the tuning of each row on each task."""
    table = Table(box=None, pad_edge=False)
    for name in ("row", "task"):
        table.add_column(name)
    for name in ("budget", "trials", "finals", "time on one worker"):
        table.add_column(name, justify="right")
    for t in tally(plan, lookup):
        time = duration(t.seconds) if t.seconds else "-"
        task, amount = without_digest(t.group.task), f"{t.group.amount:,}"
        table.add_row(Text(t.group.row), task, amount, _of(t.trials), _of(t.finals), time)
    return table


def _fixed(plan: Plan, lookup: Lookup) -> Table:
    """The training runs of each row of fixed settings, and the measures of every row."""
    table = Table(box=None, pad_edge=False)
    table.add_column("row")
    for name in ("training runs", "measures"):
        table.add_column(name, justify="right")
    kinds = (True, False)
    works = [work for work in plan.works(lookup) if work.cell.kind == "derived" or not work.ranked]
    planned = [Counter(work.row for work in works if work.trained == trained) for trained in kinds]
    done = [
        Counter(w.row for w in works if w.trained == trained and is_settled(lookup(w.cell.identity)))
        for trained in kinds
    ]
    for row in dict.fromkeys(work.row for work in works):
        counts = [_of((n[row], d[row])) if n[row] else "-" for n, d in zip(planned, done, strict=True)]
        table.add_row(Text(row), *counts)
    return table


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


def print_session(session: ExperimentResult, results: Path, *, quiet: bool, mlflow: bool = True) -> int:
    """Print boards and scores, where the pages are, and what is not done; returns the exit status.

    mlflow: whether the runs were written there.
    """
    from moebench.board import print_board, to_table

    out, err = plain_console(), plain_console(stderr=True)
    for board, _ in session.boards:
        show(board, print_board, to_table)
    for plan in session.plans:
        if plan.fixed:
            out.print(_scores(plan, Store(results)))
    for warning in session.warnings:
        err.print(Text(warning, style="yellow"), soft_wrap=True)
    if session.unfinished:
        err.print(not_done(session.unfinished))
    if not quiet:
        pages = [f"board  {pages / 'board.html'}" for _, pages in session.boards]
        pages += [f"report  {session.report}"] if session.report is not None else []
        for page in pages:
            out.print(f"{page}{f'    {mlflow_hint(results)}' * mlflow}", highlight=False, soft_wrap=True)
    return 1 if session.unfinished else 0


def mlflow_hint(results: Path) -> str:
    """The command that shows what was written to MLflow."""
    return f"MLflow: moebench ui{'' if results == Path('results') else f' --results {shlex.quote(str(results))}'}"


def _scores(plan: Plan, store: Store) -> Table:
    """Every row of fixed settings: the test score as a mean over its seeds with the interval, and its parameters."""
    table = Table(title=plan.suite.name, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("row")
    for name in ("seeds", "test score", "parameters"):
        table.add_column(name, justify="right")
    trained = [work for work in plan.fixed if work.trained]
    for row in dict.fromkeys(work.row for work in trained):
        found = [store.get(work.cell.identity) for work in trained if work.row == row]
        done = [record for record in found if record is not None and record.status == "done"]
        if done:
            score = f"test_{get_task(done[0].cell['task']).info.ranked_by.name}"
            values = [record.scores[score] for record in done]
            interval = mean_interval([[value] for value in values if value is not None])
            text = with_interval(Estimate(interval.value, interval.low, interval.high))
            counted_params = f"{done[0].counts['total_params']:,}"
            table.add_row(Text(row), str(len(done)), f"{score.removeprefix('test_')} {text}", counted_params)
    return table
