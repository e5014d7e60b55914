"""One run of a suite from end to end: plan, train, measure, write MLflow as runs finish, make the board."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.execution.processes import warm_up
from moebench.execution.progress import Progress
from moebench.execution.run_plan import Options, Records, run_plan
from moebench.execution.stopping import Interrupted, Stop, listening
from moebench.planning.cache import get_plan
from moebench.planning.estimate import missing_runs
from moebench.planning.history import board_directory, remember, remember_plan, remembered_extras
from moebench.planning.plan import Plan
from moebench.planning.request import Request
from moebench.runs import Store
from moebench.session.how import How, interrupted
from moebench.suites import Suite
from moebench.tracking.follower import Follower
from moebench.training.shares import check_shares

if TYPE_CHECKING:
    from moebench.board import Board
    from moebench.contract import Variant

OnPlan = Callable[[Plan, int, Path], None]
"""Told of the plan, the number of workers and the results directory, before anything runs."""


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
    from moebench.board import build_board, write_board

    _check_ranks(request.resolved(), how.ranks)
    request = prepare(request, how.results)
    executor = how.opened(request.resolved().training.threads)
    request = dataclasses.replace(request, place=executor.place(request.device))
    plan = _plan(request, how.results, objects)
    workers = executor.fit(plan.device["torch"])
    store = Store(how.results)
    missing = missing_runs(plan, Records(store))  # whoever reads first sets damaged records aside, and says so
    if on_plan:
        on_plan(plan, workers, how.results)
    remember(request, how.results, objects or (), unusable=plan.unusable())
    remember_plan(plan, how.results)
    total = plan.expected_runs() + len(plan.suite.task) * len(plan.suite.budgets)
    progress.start(total, total - missing, workers)
    options = _options(how, objects)
    with Follower(how.results, plan, enabled=how.mlflow and missing > 0) as follower:
        try:
            with listening() as stop:
                outcome = run_plan(
                    plan, how.results, options, executor, progress, follower.record, follower.settle, stop
                )
        finally:
            progress.stop()
        if stop:
            raise _interrupted(plan, store, stop)
        board = build_board(outcome.plan, Records(store), partial(store.finals_of, plan.suite.name))
        pages = board_directory(how.results, plan.suite.name, plan.protocol)
        write_board(board, pages)
        if how.mlflow:
            follower.finish(outcome.plan, store, pages)
    warnings = (*_damaged(store), *outcome.noted, *follower.problems)
    return Session(board, pages, (*outcome.unfinished, *_cannot_run(plan)), warnings)


def _check_ranks(suite: Suite, ranks: int) -> None:
    """:class:`UsageError` where ranks cannot share the batches of a task."""
    for entry in suite.task:
        training = suite.training.model_copy(update=entry.training)
        check_shares(training.batch, training.micro_batch, ranks)


def _plan(request: Request, results: Path, objects: Mapping[str, Variant] | None) -> Plan:
    if not objects:
        # While the plan is made, the fork server imports what the workers need.
        return get_plan(request, results, on_miss=warm_up)
    from moebench.planning.make import make_plan

    return make_plan(request, objects)


def _interrupted(plan: Plan, store: Store, stop: Stop) -> Interrupted:
    total = plan.expected_runs() + len(plan.suite.task) * len(plan.suite.budgets)
    done = total - missing_runs(plan, Records(store))
    return interrupted(done, total, plan.suite.name, stop)


def _options(how: How, objects: Mapping[str, Variant] | None) -> Options:
    pickled = {}
    if objects:
        import cloudpickle

        pickled = {name: cloudpickle.dumps(variant) for name, variant in objects.items()}
    return Options(
        save_weights=how.save_weights, checkpoint_seconds=how.checkpoint_seconds, ranks=how.ranks, pickled=pickled
    )


def _cannot_run(plan: Plan) -> list[tuple[str, str, str]]:
    """Rows and studies that this run was to work on and that cannot run at all."""
    selected = {row.name for row in plan.rows if row.selected}
    rows = [(row.name, "not_installed", row.problem) for row in plan.rows if row.selected and row.problem]
    groups = [
        (f"{group.row} {group.task}", "error" if group.broken else "over_budget", group.problem)
        for group in plan.groups
        if group.problem and group.row in selected
    ]
    return [*rows, *groups]


def _damaged(store: Store) -> list[str]:
    if not store.damaged:
        return []
    names = ", ".join(str(path) for path in store.damaged)
    return [f"{len(store.damaged)} damaged record(s) were set aside and their runs done again: {names}."]
