"""Names, tags and parameters that runs in MLflow share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moebench.mlflow_store.content import Data, Times, shortened, texts_of
from moebench.plans.plan import Group, Plan
from moebench.plugins.named import without_digest
from moebench.records import Record
from moebench.tasks import get_task

REASON_LENGTH = 1000
IDENTIFYING = (
    *("variant", "task", "axis", "budget", "steps", "batch", "micro_batch", "precision", "threads"),
    *("protocol", "code_digest", "data_digest"),
)
"""Fields of a cell that are parameters under their own names."""


def experiment_name(plan: Plan) -> str:
    """The experiment of a suite and protocol."""
    return f"moebench/{plan.suite.name}/protocol {plan.protocol}"


def experiment_tags(plan: Plan) -> dict[str, str]:
    """Tags of the experiment, and of every run in it."""
    return {"moebench.suite": plan.suite.name, "moebench.protocol": plan.protocol}


def run_tags(plan: Plan, kind: str, identity: str, **more: object) -> dict[str, str]:
    """Tags of a run. budget: the suite's; a reference row's own is a parameter."""
    named = {"kind": kind, "identity": identity, **more}
    return experiment_tags(plan) | {f"moebench.{name}": str(value) for name, value in named.items()}


def study_tags(plan: Plan, group: Group, kind: str, identity: str) -> dict[str, str]:
    """Tags of a study and of its runs."""
    return run_tags(plan, kind, identity, row=group.row, task=group.task, budget=group.budget)


def status_tags(record: Record) -> dict[str, str]:
    """Status and reason of a run."""
    reason = {"moebench.reason": shortened(record.reason, REASON_LENGTH)} if record.reason else {}
    return {"moebench.status": record.status, **reason}


def study_name(plan: Plan, group: Group) -> str:
    """Row and task, and the budget where the suite has several."""
    return f"{group.row} {without_digest(group.task)}{budget_suffix(plan, group.budget)}"


def budget_suffix(plan: Plan, budget: int) -> str:
    """The budget, where the suite has several; else nothing."""
    return f" {budget:,}" if len(plan.suite.budgets) > 1 else ""


def study_params(row: str, cell: Mapping[str, Any]) -> dict[str, str]:
    """What all runs of a study have in common; ``cell`` is a cell or a group's template."""
    host = {f"host/{name}": value for name, value in cell["host"].items() if name != "name"}
    own = {name: cell.get(name) for name in IDENTIFYING}
    return texts_of({"row": row, **own, "host": cell["host"]["name"], **host})


def with_settings(params: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, str]:
    """Parameters, and settings under their own names, or as ``setting/<name>`` where that is taken."""
    named = {f"setting/{name}" if name in params else name: str(value) for name, value in settings.items()}
    return {**params, **named}


def provenance_params(record: Record) -> dict[str, str]:
    """Device, backend, machine and software versions of a run."""
    provenance = record.provenance
    own = {name: provenance.get(name) for name in ("device", "backend", "machine")}
    return texts_of(own | {f"version/{name}": value for name, value in provenance.get("versions", {}).items()})


def data_of(cell: Mapping[str, Any]) -> Data:
    """The data set of a cell, or of a group's template."""
    headline = get_task(cell["task"]).info.headline
    metric = headline.name if headline else "none"
    return Data(name=cell["task"], digest=cell["data_digest"], split=cell["split"], metric=metric)


def times(*records: Record) -> Times:
    """When the first run started and the last one ended."""
    each = [_times(record) for record in records]
    return Times(min(run.started for run in each), max(run.ended for run in each))


def _times(record: Record) -> Times:
    """Of one run; now for one whose process left no times."""
    started = record.provenance.get("started")
    if started is None:
        now = round(time.time() * 1000)
        return Times(now, now)
    begin = round(datetime.fromisoformat(started).timestamp() * 1000)
    return Times(begin, begin + round(record.provenance.get("seconds", 0) * 1000))
