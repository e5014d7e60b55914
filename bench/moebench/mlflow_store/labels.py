"""Names, tags and parameters that runs in MLflow share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moebench.mlflow_store.content import Data, shortened, texts_of
from moebench.plans.plan import Group, Plan
from moebench.plugins.named import plain
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


def study_name(plan: Plan, group: Group) -> str:
    """Row and task, and the budget where the suite has several."""
    return f"{group.row} {plain(group.task)}{budget_suffix(plan, group.budget)}"


def budget_suffix(plan: Plan, budget: int) -> str:
    """The budget, where the suite has several; else nothing."""
    return f" {budget:,}" if len(plan.suite.budgets) > 1 else ""


def study_tags(plan: Plan, group: Group, kind: str, identity: str) -> dict[str, str]:
    """Tags of a study and of its runs. budget: the suite's; a reference row's own is a parameter."""
    return experiment_tags(plan) | {
        "moebench.kind": kind,
        "moebench.identity": identity,
        "moebench.row": group.row,
        "moebench.task": group.task,
        "moebench.budget": str(group.budget),
    }


def status_tags(record: Record) -> dict[str, str]:
    """How a run came out, and why."""
    reason = {"moebench.reason": shortened(record.reason, REASON_LENGTH)} if record.reason else {}
    return {"moebench.status": record.status, **reason}


def study_params(row: str, cell: Mapping[str, Any]) -> dict[str, str]:
    """What all runs of a study have in common; ``cell`` is a cell or a group's template."""
    host = {f"host/{name}": value for name, value in cell["host"].items() if name != "name"}
    own = {name: cell.get(name) for name in IDENTIFYING}
    return texts_of({"row": row, **own, "host": cell["host"]["name"], **host})


def setting_params(settings: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, str]:
    """Tuned settings under their own names; ``setting/<name>`` where that is taken."""
    return {f"setting/{name}" if name in taken else name: str(value) for name, value in settings.items()}


def provenance_params(record: Record) -> dict[str, str]:
    """What a run ran on."""
    provenance = record.provenance
    own = {name: provenance.get(name) for name in ("device", "backend", "machine")}
    return texts_of(own | {f"version/{name}": value for name, value in provenance.get("versions", {}).items()})


def data_of(cell: Mapping[str, Any]) -> Data:
    """The data set of a cell, or of a group's template."""
    headline = get_task(cell["task"]).info.headline
    metric = headline.name if headline else "none"
    return Data(name=cell["task"], digest=cell["data_digest"], split=cell["split"], metric=metric)


def times(record: Record) -> tuple[int, int]:
    """When a run started and ended, in milliseconds since 1970; now for one whose process left no times."""
    started = record.provenance.get("started")
    if started is None:
        now = round(time.time() * 1000)
        return now, now
    begin = round(datetime.fromisoformat(started).timestamp() * 1000)
    return begin, begin + round(record.provenance.get("seconds", 0) * 1000)
