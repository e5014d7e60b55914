"""What ``run`` and ``plan`` print around the board."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from moebench.board import Estimate
from moebench.board.numbers import with_interval
from moebench.board.rules import PUBLISHED_SEEDS
from moebench.board.verdict import verdicts
from moebench.cli.hints import command_line
from moebench.cli.options import show
from moebench.cli.verbosity import is_debug
from moebench.frames import short_traceback
from moebench.plans.estimate import for_seeds, left, longest_guess, tally
from moebench.plans.plan import Lookup, Plan
from moebench.plans.rows import BASELINE, by_others
from moebench.plugins.named import without_digest
from moebench.records import Record, Records, Store, is_settled
from moebench.runner.executors.local import local_workers
from moebench.runner.not_done import not_done
from moebench.runner.run_plan import OPEN
from moebench.statistics import mean_interval
from moebench.summary import amounts, duration, heading
from moebench.tasks import get_task
from moebench.text import counted_noun, plain_console

if TYPE_CHECKING:
    from moebench.experiment import ExperimentResult


def plan_tables(
    plans: Sequence[Plan], results: Path, at_a_time: int | None = None, reused: Sequence[Path] = ()
) -> Iterator[RenderableType]:
    """For each suite what is cached and what is missing, and how long the rest takes.

    at_a_time: runs, instead of as many as fit. reused: published directories whose records count as cached.
    """
    lookup, planned, seconds = with_reused(Records(Store(results)), reused), set[str](), 0.0
    for plan in plans:
        workers = workers_for(plan, at_a_time)
        seconds += left(plan, lookup, planned).on(workers)
        planned |= {work.cell.identity for work in plan.works(lookup)}
        tables = [table for table in (_studies(plan, lookup), _fixed(plan, lookup)) if table.row_count]
        cannot, frames = list[Text](), plan.frames()
        for row, _, reason in plan.cannot_run():
            cannot.append(Text.assemble((f"{row}: ", "bold"), (reason, "red")))
            cannot += map(Text, short_traceback(frames.get(row, ()), whole=is_debug()))
        head = Text(heading(plan, workers), style="bold")
        yield Group(head, Text(amounts(plan, lookup, workers)), *tables, *cannot)
    if len(plans) > 1 and seconds:
        yield Text(f"{len(plans)} parts: about {duration(seconds)} in all", style="bold")


def with_reused(lookup: Lookup, directories: Sequence[Path]) -> Lookup:
    """The records there are, and those that published directories would add."""
    if not directories:
        return lookup
    from moebench.publish import open_results

    packs = [open_results(directory).lookup for directory in directories]

    def found(identity: str) -> Record | None:
        here = lookup(identity)
        return here if is_settled(here) else next(filter(None, (pack(identity) for pack in packs)), here)

    return found


def _studies(plan: Plan, lookup: Lookup) -> Table:
    """A line for the tuning of each row on each task; what cannot run is named in its columns, last."""
    table = Table(box=None, pad_edge=False)
    for name in ("row", "task"):
        table.add_column(name)
    for name in ("budget", "trials", "finals", "time on one worker"):
        table.add_column(name, justify="right")
    for t in tally(plan, lookup):
        time = duration(t.seconds) if t.seconds else "-"
        task, amount = without_digest(t.group.task), f"{t.group.amount:,}"
        table.add_row(Text(t.group.row), task, amount, _of(t.trials), _of(t.finals), time)
    for row in plan.rows:
        broken = [group for group in plan.groups_of(row.name) if group.problem and not row.problem]
        places = [(without_digest(group.task), f"{group.amount:,}") for group in broken]
        for place in (places or [("-", "-")] * bool(row.problem)) if row.selected else ():
            table.add_row(Text(row.name), *place, "-", "-", Text("cannot run", style="red"))
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


def print_session(
    session: ExperimentResult, results: Path, suite: str, *, quiet: bool, mlflow: bool = True, chosen: bool = False
) -> int:
    """Print boards and scores, where the pages are, and what is not done; returns the exit status.

    suite: as it was given. mlflow: whether the runs were written there. chosen: whether rows were asked for by name.
    """
    from moebench.board import print_board, to_table
    from moebench.records.conformance import described, read_conformance

    out, err = plain_console(), plain_console(stderr=True)
    asked_for = _asked_for(session) if chosen else {}
    boards = [
        board for board, _ in session.boards if any(e.representation for rung in board.rungs for e in rung.entries)
    ]
    for board in boards:
        rows = asked_for.get(board.suite, ())
        show(
            board,
            lambda board, console, rows=rows: print_board(board, console, rows),  # type: ignore[misc]
            lambda board, rows=rows: to_table(board, asked_for=rows),  # type: ignore[misc]
        )
        for name, sentence in verdicts(board, rows):
            out.print(Text.assemble((f"{name}: ", "bold"), sentence), soft_wrap=True)
        if rows and not quiet and not session.unfinished and board.seeds < PUBLISHED_SEEDS:
            plan = next(plan for plan in session.plans if plan.suite.name == board.suite)
            out.print(_more_seeds(plan, results, suite), soft_wrap=True)
    for plan in session.plans:
        if plan.fixed:
            out.print(_scores(plan, Store(results)))
    for warning in session.warnings:
        err.print(Text(warning, style="yellow"), soft_wrap=True)
    if session.unfinished:
        err.print(not_done(session.unfinished, session.frames, whole=is_debug()), soft_wrap=True)
    if any(status == OPEN for _, status, _ in session.unfinished):
        err.print(f"goes on with  `{command_line('run', suite, {})}`", highlight=False, markup=False, soft_wrap=True)
    checked = read_conformance(results)
    selected = {row.name: row for plan in session.plans for row in plan.rows if row.selected}
    for row in () if quiet else by_others(selected.values()):
        found = checked.get(row.code_digest)
        says_more = f"; `moebench check {shlex.quote(row.spec)}` says more"
        more = "" if found is None or found.complete else f": {', '.join(found.failed[:8])}{says_more}"
        out.print(f"checks {row.name}  {described(found)}{more}", highlight=False, markup=False, soft_wrap=True)
    if not quiet:
        pages = [f"board  {pages / 'board.html'}" for board, pages in session.boards if board in boards]
        pages += [f"report  {session.report}"] if session.report is not None else []
        for page in pages:
            out.print(f"{page}{f'    {mlflow_hint(results)}' * mlflow}", highlight=False, soft_wrap=True)
    return 1 if session.unfinished else 0


def _asked_for(session: ExperimentResult) -> dict[str, list[str]]:
    """The rows that were asked for by name, by suite."""
    return {
        plan.suite.name: [row.name for row in plan.rows if row.selected and row.name != BASELINE]
        for plan in session.plans
    }


def workers_for(plan: Plan, asked: int | None = None) -> int:
    """How many runs of a plan there are at a time on this machine."""
    threads, device = plan.suite.training.threads, plan.device["torch"]
    return local_workers(asked, threads, device, seconds=longest_guess(plan))


def _more_seeds(plan: Plan, results: Path, suite: str) -> Text:
    """What it takes to be surer, and the command."""
    more = for_seeds(plan, Records(Store(results)), PUBLISHED_SEEDS)
    workers = workers_for(plan)
    command = command_line("run", suite, {"seeds": PUBLISHED_SEEDS})
    return Text(
        f"{counted_noun(more.runs, 'more run')} (about {duration(more.on(workers))}) for {PUBLISHED_SEEDS} seeds: "
        f"`{command}`"
    )


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
