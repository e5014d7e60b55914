"""Plans are kept beside the results, so that a suite that has run can be read again without importing torch."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moebench import machine
from moebench.errors import DataError, MoebenchError
from moebench.files import LARGE, read_text
from moebench.plans.plan import Plan
from moebench.plans.rows import Row, resolve_rows
from moebench.plugins.find import COMPRESSORS, find_variant
from moebench.plugins.identity import code_identity
from moebench.records.canonical import digest
from moebench.records.store import write_atomic
from moebench.suites.request import Request
from moebench.tasks import get_task

LOG = logging.getLogger(__name__)

KEPT_PLANS = 8


def get_plan(request: Request, results: Path, on_miss: Callable[[], None] = lambda: None) -> Plan:
    """The plan of a request: the kept one if nothing that it depends on has changed, else a new one.

    ``on_miss`` is called before a new one is made, which takes seconds.
    """
    rows = resolve_rows(request.suite, request.variants, request.extras)
    kept = _read(_path(request, rows, results))
    if kept is not None and _same_compressors(kept):
        LOG.info("plan of '%s': kept", request.suite.name)
        return _selected(kept, rows)
    LOG.info("plan of '%s': made now", request.suite.name)
    on_miss()
    from moebench.plans.make import make_plan

    plan = make_plan(request)
    path = _path(request, rows, results)  # again: the data may have come only now
    if path is not None and not _curable(plan, rows):
        write_plan(plan, path)
    return plan


def plan_all(requests: Sequence[Request], make: Callable[[Request], Plan]) -> tuple[list[Plan], dict[str, DataError]]:
    """The plans of an experiment's suites, and by name why an optional one has none: its data set is not there.

    :class:`DataError` where one that is not optional lacks its data, or there is no plan at all.
    """
    plans, left_out = list[Plan](), dict[str, DataError]()
    for request in requests:
        try:
            plans.append(make(request))
        except DataError as error:
            if not request.optional or error.code != "data-missing":
                raise
            left_out[request.suite.name] = error
    if not plans:
        raise next(iter(left_out.values()))
    return plans, left_out


def write_plan(plan: Plan, path: Path) -> None:
    """Keep a plan, and only the few newest of them; a directory that cannot be written keeps none."""
    try:
        write_atomic(path, json.dumps(plan.to_json(), indent=1).encode())
        old = sorted(path.parent.glob("*.json"), key=lambda p: p.stat().st_mtime, reverse=True)[KEPT_PLANS:]
        for stale in old:
            stale.unlink(missing_ok=True)
    except OSError:
        return


def _read(path: Path | None) -> Plan | None:
    if path is None:
        return None
    try:
        return Plan.from_json(json.loads(read_text(path, LARGE)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # none, or not readable: it is made again


def _selected(plan: Plan, rows: tuple[Row, ...]) -> Plan:
    """Which rows are worked on is the request's, not the plan's."""
    chosen = {row.key: row.selected for row in rows}
    return dataclasses.replace(
        plan, rows=tuple(dataclasses.replace(row, selected=chosen[row.key]) for row in plan.rows)
    )


def _curable(plan: Plan, rows: tuple[Row, ...]) -> bool:
    """Whether a problem may be cured without a change that the key knows, by installing a package, say."""
    known = {row.key: row.problem for row in rows}
    unforeseen = any(row.problem != known[row.key] for row in plan.rows)
    return unforeseen or any(group.broken for group in plan.groups)


def _same_compressors(plan: Plan) -> bool:
    """Whether the methods that its measures make models smaller with are what they were; asks no measure for them."""
    used = {name: code for session in plan.measures.values() for name, code in session.get("code", {}).items()}
    try:
        return all(code_identity(COMPRESSORS.find(name)) == code for name, code in used.items())
    except MoebenchError:
        return False  # who makes the plan again says what is wrong


def _path(request: Request, rows: tuple[Row, ...], results: Path) -> Path | None:
    """Where the plan lies; None while the data are not there."""
    try:
        key = digest(_depends_on(request, rows))
    except DataError:
        return None
    return results / request.suite.name / "plans" / f"{key}.json"


def _depends_on(request: Request, rows: tuple[Row, ...]) -> dict[str, Any]:
    suite, place = request.suite, request.place
    fixed = [find_variant(row.variant) for row in suite.row]
    return {
        "suite": suite.model_dump(mode="json"),
        "protocol": request.protocol,
        "full": request.full,
        "rows": [[row.name, row.spec, row.variant, row.code_digest, row.problem] for row in rows],
        "fixed": [[found.spec, code_identity(found)] for found in fixed],
        "data": {name: get_task(name).fingerprint(request.data) for name in suite.all_tasks},
        "where": str(request.data) if request.data else None,
        "device": request.device,
        "backend": request.backend,
        "machine": [machine.cpu_model(), *machine.cuda_devices_seen()] if place is None else dataclasses.asdict(place),
        "versions": {**machine.versions(), "optuna": version("optuna")},
    }
