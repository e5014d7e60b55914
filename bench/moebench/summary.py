"""What a run is about to do, in a line or two: on a terminal, in a log and in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from moebench.board.words import counted
from moebench.plans.estimate import left
from moebench.plans.plan import Lookup, Plan
from moebench.plugins.named import without_digest
from moebench.records import Records, Store
from moebench.text import counted_noun, one_line


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


def amounts(plan: Plan, lookup: Lookup, workers: int) -> str:
    """One line: rows, runs, how many of them are cached, and about how long the rest takes."""
    rest = left(plan, lookup)
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
        console.print(
            f"plan   {amounts(plan, Records(Store(results)), workers)}", highlight=False, markup=False, soft_wrap=True
        )
        for label, status, reason in plan.cannot_run():
            console.print(Text(f"cannot run: {label}  {status}: {one_line(reason)}", style="red"), soft_wrap=True)

    return say
