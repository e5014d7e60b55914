"""Rows of fixed settings that train and are measured for real in seconds, as a file and as values."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from moebench.experiment import ExperimentResult, run_experiment
from moebench.plans.make import make_plan
from moebench.plans.plan import Plan, Work
from moebench.records import Record
from moebench.runner.options import RunOptions
from moebench.runner.progress import Progress
from moebench.suites import Suite
from moebench.suites.request import ask, request_for

SINGLE = {"name": "single_layer", "grid": 2}

VALUES: dict[str, Any] = {
    "name": "tiny",
    "title": "A few steps",
    "seeds": 1,
    "full_seeds": 2,
    "training": {"steps": 40, "batch": 32, "optimiser": "adam", "lr": 3e-3},
    "measure": [
        {"name": "subset", "kind": "subset", "rows": ["digits"]},
        {"name": "oracle", "kind": "oracle", "takes": {"most_experts": 4, "inputs": 50}, "rows": ["digits"]},
        {"name": "gaps", "kind": "gaps", "rows": ["norm", "untrained"]},
        {
            "name": "cost",
            "kind": "cost",
            "takes": {"shares": [1, 0.25], "batches": [1, 4], "rounds": 2, "repeats": 1, "roofline": True},
            "rows": ["digits"],
            "seeds": 1,
            "alone": True,
        },
    ],
    "row": [
        {
            "name": "digits",
            "task": "digits",
            "host": SINGLE,
            "variant": "soft_moe",
            "settings": {"slots": 1, "normalise": False},
            "vary": {"experts": [4]},
            "vary_full": {"experts": [4, 8]},
            "budget": 33_000,
        },
        {
            "name": "norm",
            "task": "norm",
            "host": {"name": "token_sum", "tokens": 5},
            "variant": "soft_moe",
            "vary": {"experts": [1, 2]},
            "width": 20,
        },
        {
            "name": "untrained",
            "task": "norm",
            "host": {"name": "token_sum", "tokens": 5, "residual": True},
            "variant": "soft_moe",
            "vary": {"experts": [2]},
            "width": 20,
            "trained": False,
        },
    ],
}


def values(**changes: Any) -> dict[str, Any]:
    """A copy of the tiny suite's values, with some replaced."""
    return copy.deepcopy(VALUES) | changes


def to_toml(value: Any) -> str:
    """A table, list, text, number or truth value on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{name}" = {to_toml(each)}' for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def write(path: Path, given: dict[str, Any]) -> Path:
    """The values as a file; its name is the suite's."""
    path.write_text("\n".join(f"{name} = {to_toml(each)}" for name, each in given.items() if name != "name"))
    return path


def run(path: Path, results: Path, *, mlflow: bool = False, **asked: Any) -> ExperimentResult:
    """Run a suite's file without a word."""
    return run_experiment(ask(str(path), **asked), RunOptions(results=results, workers=2, mlflow=mlflow), Progress())


def plan_of(given: dict[str, Any], **asked: Any) -> Plan:
    """The plan of such values."""
    return make_plan(request_for(Suite.model_validate(given), device="cpu", **asked))


def nothing(identity: str) -> Record | None:
    """Where nothing has run."""


def finals(plan: Plan) -> list[Work]:
    """The training runs of a plan without tuned rows."""
    return list(plan.training(nothing))


def measured(plan: Plan, *, alone: bool = False) -> list[Work]:
    """Its measures."""
    return list(plan.measuring(nothing, alone=alone))


def works(plan: Plan) -> list[Work]:
    """All of it."""
    return list(plan.works(nothing))
