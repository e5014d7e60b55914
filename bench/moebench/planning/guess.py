"""How long a training run takes where none like it has been seen: a rule of thumb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# From small models on a laptop's core, and on a GPU: seconds a step, and FLOP/s while training.
OVERHEAD = {"cpu": 0.004, "cuda": 0.015}
THROUGHPUT = {"cpu": 8e10, "cuda": 5e12}
START_SECONDS = 2.0


def guess_seconds(cell: Mapping[str, Any], amount: float, device: str) -> float:
    """Seconds of one run: a fixed cost a step and layer, and 3 x 2 FLOPs a parameter and token.

    cell: the values of the run's cell that all runs like it share. amount: its budget. device: its type.
    """
    kind = "cuda" if device == "cuda" else "cpu"
    tokens = _tokens(cell["host"], cell["task"])
    parameters = amount if cell["axis"] != "flops" else amount / (2 * tokens)
    flops = float(cell["steps"] * cell["batch"] * 6 * parameters * tokens)
    steps = float(cell["steps"] * cell["host"].get("depth", 1))
    return START_SECONDS + steps * OVERHEAD[kind] + flops / THROUGHPUT[kind]


def _tokens(host: Mapping[str, Any], task: str) -> int:
    from moebench.tasks import Features, Tokens, Vectors, get_task

    inputs = get_task(task).info.inputs
    if isinstance(inputs, Tokens):
        return inputs.length
    if isinstance(inputs, Vectors):
        return inputs.tokens
    if isinstance(inputs, Features):
        return int(host["tokens"])
    height, width = inputs.height, inputs.width
    if host["name"] == "resnet":
        from moebench.hosts.settings import ResNetSettings

        settings = ResNetSettings.model_validate(dict(host))
        grids = [settings.grid(index, (height, width)) for index in settings.replaced]
        return sum(rows * columns for rows, columns in grids) // len(grids)
    if host["name"] == "vit":
        patch = int(host["patch"])
        return (height // patch) * (width // patch)
    return int(host["grid"]) ** 2
