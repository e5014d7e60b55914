"""A sweep that trains and measures for real in seconds, as a file and as values."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from moebench.execution.progress import Quiet
from moebench.planning.request import Request
from moebench.session import How
from moebench.session.sweep import SweepSession, run_sweeps

SINGLE = {"name": "single_layer", "grid": 2}

VALUES: dict[str, Any] = {
    "name": "tiny",
    "title": "A few steps",
    "seeds": 1,
    "full_seeds": 2,
    "training": {"steps": 40, "batch": 32, "lr": 3e-3},
    "measure": [
        {"name": "subset", "kind": "subset"},
        {"name": "oracle", "kind": "oracle", "takes": {"most_experts": 4, "inputs": 50}},
        {"name": "gaps", "kind": "gaps"},
        {
            "name": "cost",
            "kind": "cost",
            "takes": {"shares": [1, 0.25], "batches": [1, 4], "rounds": 2, "repeats": 1, "roofline": True},
            "seeds": 1,
            "alone": True,
        },
    ],
    "arm": [
        {
            "name": "digits",
            "task": "digits",
            "host": SINGLE,
            "variant": "soft_moe",
            "settings": {"slots": 1, "normalise": False},
            "vary": {"experts": [4]},
            "vary_full": {"experts": [4, 8]},
            "budget": 33_000,
            "measures": ["subset", "oracle", "cost"],
        },
        {
            "name": "norm",
            "task": "norm",
            "host": {"name": "token_sum", "tokens": 5},
            "variant": "soft_moe",
            "vary": {"experts": [1, 2]},
            "width": 20,
            "measures": ["gaps"],
        },
        {
            "name": "untrained",
            "task": "norm",
            "host": {"name": "token_sum", "tokens": 5, "residual": True},
            "variant": "soft_moe",
            "vary": {"experts": [2]},
            "width": 20,
            "trained": False,
            "measures": ["gaps"],
        },
    ],
}


def values(**changes: Any) -> dict[str, Any]:
    """A copy of the tiny sweep's values, with some replaced."""
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
    """The values as a file; its name is the sweep's."""
    path.write_text("\n".join(f"{name} = {to_toml(each)}" for name, each in given.items() if name != "name"))
    return path


def run(path: Path, results: Path, *, full: bool = False, mlflow: bool = False) -> SweepSession:
    """Run a sweep's file without a word."""
    how = How(results=results, workers=2, mlflow=mlflow)
    return run_sweeps(Request(suite=str(path)), how, Quiet(), full=full, on_part=lambda plan, workers: None)
