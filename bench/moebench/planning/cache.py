"""Plans are kept beside the results, so that a suite that has run can be read again without importing torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moebench import machine
from moebench.planning.plan import Plan
from moebench.planning.request import Request
from moebench.planning.rows import resolve_rows
from moebench.runs.canonical import digest
from moebench.runs.store import write_atomic
from moebench.tasks import get_task

KEPT_PLANS = 8


def get_plan(request: Request, results: Path, on_miss: Callable[[], None] = lambda: None) -> Plan:
    """The plan of a request: the kept one if nothing that it depends on has changed, else a new one.

    ``on_miss`` is called before a new one is made, which takes seconds.
    """
    suite = request.resolved()
    key = digest(_depends_on(request))
    path = results / suite.name / "plans" / f"{key}.json"
    try:
        return Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or not readable: make it again
    on_miss()
    from moebench.planning.make import make_plan

    plan = make_plan(request)
    # A problem may be cured from outside (a package installed, say), so such a plan is made anew each time.
    if not any(row.problem for row in plan.rows) and not any(group.problem for group in plan.groups):
        write_plan(plan, path)
    return plan


def write_plan(plan: Plan, path: Path) -> None:
    """Keep a plan, and only the few newest of them; a directory that cannot be written keeps none."""
    try:
        write_atomic(path, json.dumps(plan.to_json(), indent=1).encode())
        old = sorted(path.parent.glob("*.json"), key=lambda p: p.stat().st_mtime, reverse=True)[KEPT_PLANS:]
        for stale in old:
            stale.unlink(missing_ok=True)
    except OSError:
        return


def _depends_on(request: Request) -> dict[str, Any]:
    suite = request.resolved()
    rows = resolve_rows(suite, request.variants, request.extras)
    return {
        "suite": suite.model_dump(mode="json"),
        "protocol": request.protocol(),
        "rows": [[row.name, row.spec, row.variant, row.code_digest, row.selected, row.problem] for row in rows],
        "data": {name: get_task(name).fingerprint(request.data) for name in suite.task_names},
        "where": str(request.data),
        "device": request.device,
        "backend": request.backend,
        "machine": [machine.cpu_model(), machine.may_have_cuda()],
        "versions": machine.versions(),
    }


