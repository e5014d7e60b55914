"""One run of a suite from end to end: plan, train, measure, write MLflow as runs finish, make the board."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.execution.local import local_workers
from moebench.execution.processes import warm_up
from moebench.execution.progress import Progress
from moebench.execution.run_plan import Options, Records, run_plan
from moebench.planning.cache import get_plan
from moebench.planning.estimate import missing_runs
from moebench.planning.history import board_directory, remember, remember_plan, remembered_extras
from moebench.planning.plan import Plan
from moebench.planning.request import Request
from moebench.runs import Store
from moebench.tracking.follower import Follower

if TYPE_CHECKING:
    from moebench.board.model import Board
    from moebench.contract import Variant

OnPlan = Callable[[Plan, int, Path], None]
"""Told of the plan, the number of workers and the results directory, before anything runs."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How a suite is run; nothing here changes a result."""

    results: Path
    workers: int | None = None
    timeout: float | None = None
    save_weights: bool = True
    mlflow: bool = True


@dataclass(frozen=True)
class Session:
    """What a run of a suite left: its board, where the pages are, (run, status, reason) of what is not done, and
    sentences about what went wrong beside it.
    """

    board: Board
    pages: Path
    unfinished: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]


def prepare(request: Request, results: Path) -> Request:
    """Check what can be checked before anything runs, and add the rows of earlier runs."""
    suite = request.resolved()
    Store(results).prepare()
    earlier = tuple(spec for spec in remembered_extras(results, suite.name) if spec not in request.variants)
    return dataclasses.replace(request, extras=earlier)


def run_suite(
    request: Request,
    how: How,
    progress: Progress,
    *,
    on_plan: OnPlan | None = None,
    objects: Mapping[str, Variant] | None = None,
) -> Session:
    """Run what is missing of a suite, and make its board."""
    from moebench.board.build import build_board
    from moebench.board.files import write_board

    request = prepare(request, how.results)
    plan = _plan(request, how.results, objects)
    options = _options(how, plan, objects)
    if on_plan:
        on_plan(plan, options.workers, how.results)
    remember(request, how.results, objects or ())
    remember_plan(plan, how.results)
    store = Store(how.results)
    missing = missing_runs(plan, Records(store))
    total = plan.expected_runs() + len(plan.suite.task) * len(plan.suite.budgets)
    progress.start(total, total - missing, options.workers)
    with Follower(how.results, plan, enabled=how.mlflow and missing > 0) as follower:
        try:
            outcome = run_plan(plan, how.results, options, progress, follower.record, follower.settle)
        finally:
            progress.stop()
        board = build_board(outcome.plan, Records(store), partial(store.finals_of, plan.suite.name))
        pages = board_directory(how.results, plan.suite.name, plan.protocol)
        write_board(board, pages)
        if how.mlflow:
            follower.finish(outcome.plan, store, pages)
    return Session(board, pages, (*outcome.unfinished, *_cannot_run(plan)), (*_damaged(store), *follower.problems))


def _plan(request: Request, results: Path, objects: Mapping[str, Variant] | None) -> Plan:
    if not objects:
        # While the plan is made, the fork server imports what the workers need.
        return get_plan(request, results, on_miss=warm_up)
    from moebench.planning.make import make_plan

    return make_plan(request, objects)


def _options(how: How, plan: Plan, objects: Mapping[str, Variant] | None) -> Options:
    pickled = {}
    if objects:
        import cloudpickle

        pickled = {name: cloudpickle.dumps(variant) for name, variant in objects.items()}
    workers = local_workers(how.workers, plan.suite.training.threads, plan.device["torch"])
    return Options(workers=workers, save_weights=how.save_weights, timeout=how.timeout, pickled=pickled)


def _cannot_run(plan: Plan) -> list[tuple[str, str, str]]:
    """Rows and studies that this run was to work on and that cannot run at all."""
    selected = {row.name for row in plan.rows if row.selected}
    rows = [(row.name, "not_installed", row.problem) for row in plan.rows if row.selected and row.problem]
    groups = [
        (f"{group.row} {group.task}", "over_budget", group.problem)
        for group in plan.groups
        if group.problem and group.row in selected
    ]
    return [*rows, *groups]


def _damaged(store: Store) -> list[str]:
    if not store.damaged:
        return []
    names = ", ".join(str(path) for path in store.damaged)
    return [f"{len(store.damaged)} damaged record(s) were set aside and their runs done again: {names}."]
