"""Make a plan: import the variants, solve their budgets, ask for their trials. The only part that needs torch."""

from __future__ import annotations

from collections.abc import Mapping

from moebench.contract import Variant
from moebench.errors import SuiteError, UnknownNameError
from moebench.plans.fixed import fixed_works, planned_measures
from moebench.plans.plan import Plan
from moebench.plans.rows import Row, resolve_rows
from moebench.plans.studies import TaskSettings, plan_rows
from moebench.plugins.backends import load_backend
from moebench.plugins.named import without_digest
from moebench.plugins.objects import object_digest
from moebench.suites import Suite
from moebench.suites.load import check_hosts
from moebench.suites.request import Request
from moebench.tasks import get_task
from moebench.training.device import here


def make_plan(request: Request, objects: Mapping[str, Variant] | None = None) -> Plan:
    """The plan of a request. ``objects`` are variants given as Python objects, by name."""
    suite = request.suite
    check_hosts(suite, request.named or suite.name)
    place = request.place or here(request.device)
    if request.backend:
        load_backend(request.backend)
    measures = planned_measures(request, place)
    digests = {name: object_digest(variant) for name, variant in (objects or {}).items()}
    rows = resolve_rows(suite, request.variants, request.extras, digests)
    _check_task_names(suite)
    settings = list[TaskSettings]()
    if suite.tuning is not None:
        _check_directions(suite)
        settings = [TaskSettings.of(suite, entry, place, request) for entry in suite.task]
    planned = plan_rows(rows, suite, settings, objects or {}, request.extras)
    rows = tuple(each.row for each in planned)
    _check_names(suite, rows)
    return Plan(
        suite=suite,
        protocol=request.protocol,
        device=place.as_device(),
        versions=place.versions,
        backend=request.backend,
        data=str(request.data) if request.data else None,
        rows=rows,
        groups=tuple(group for each in planned for group in each.groups),
        fixed=fixed_works(request, place),
        measures=measures,
        full=request.full,
    )


def _check_names(suite: Suite, rows: tuple[Row, ...]) -> None:
    """A variant from a file is known by name only now."""
    known = {name for row in rows for name in (row.variant, row.name)}
    for name in suite.space:
        if name not in known:
            raise UnknownNameError("variant", name, known, f"[space] of suite '{suite.name}'")
    named = {*(row.name for row in rows), *(row.name for row in suite.row)}
    for measure in suite.measure:
        for name in measure.rows or ():
            if name not in named:
                raise UnknownNameError("row", name, named, f"measure '{measure.name}' of suite '{suite.name}'")


def _check_task_names(suite: Suite) -> None:
    """Boards go by the names that tasks give themselves."""
    called: dict[str, str] = {}
    for name in suite.all_tasks:
        other = called.setdefault(get_task(name).info.name, name)
        if other != name:
            raise SuiteError(
                f"suite '{suite.name}': {without_digest(other)} and {without_digest(name)} both call themselves "
                f"'{get_task(name).info.name}'; rename one.",
                code="tasks-of-one-name",
                names=[other, name],
            )


def _check_directions(suite: Suite) -> None:
    """Representation is a mean over tasks, which says nothing where more is better on one and worse on another."""
    tasks = {without_digest(name): get_task(name) for name in suite.task_names}
    if without := [name for name, task in tasks.items() if task.info.headline is None]:
        raise SuiteError(
            f"suite '{suite.name}': task '{without[0]}' only times layers and has no score to rank by; take it out.",
            code="task-without-headline",
            task=without[0],
        )
    high = [name for name, task in tasks.items() if task.score_that_ranks(suite.rank_by).higher_is_better]
    low = [name for name in tasks if name not in high]
    if high and low:
        raise SuiteError(
            f"suite '{suite.name}': more is better on {', '.join(high)} and worse on {', '.join(low)}, and scores are "
            "means over tasks; give each kind a suite of its own.",
            code="mixed-directions",
        )
