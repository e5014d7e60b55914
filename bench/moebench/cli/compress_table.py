"""What ``moebench compress`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from moebench import machine
from moebench.board.numbers import fixed, milliseconds, plain, short
from moebench.records import Cell, Record
from moebench.tasks import get_task
from moebench.training.device import device_name

if TYPE_CHECKING:
    import torch

WIDTH = 140
"""Of what does not go to a terminal."""

Values = Mapping[str, float | None]


def print_rows(
    scores: Mapping[str, Values],
    costs: Values,
    record: Record,
    experts: int,
    steps: int,
    batches: Sequence[int],
    device: torch.device,
) -> None:
    """The model as it was, and a row for each method; above it what was used, below it how it was measured."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    cell = Cell.from_json(record.cell)
    console.print(Text(f"{plain(cell.variant)}  {cell.task}  record {record.identity}", style="bold"))
    headline = get_task(cell.task).info.ranked_by.name
    console.print(_table(scores, costs, headline, experts, steps, batches))
    for line in _remarks(cell, headline, experts, steps, batches, device):
        console.print(Text(line))


def _table(
    scores: Mapping[str, Values], costs: Values, headline: str, experts: int, steps: int, batches: Sequence[int]
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("experts", no_wrap=True)
    titles = [headline, *(["recovered"] if steps else []), "parameters", "MiB"]
    for title in (*titles, "FLOPs", *(f"batch {batch}" for batch in batches)):
        table.add_column(title, justify="right", no_wrap=True)
    for method, values in scores.items():
        whole = method == "keep_all"
        reached = [values["unrecovered"], *([values["after"]] if steps else [])]
        name = "all, as trained" if whole else f"{method}, {_held(values)}"
        times = "whole" if whole else f"{method} {experts}"
        table.add_row(
            Text(name),
            *(fixed(value) for value in reached),
            _beside(short(values["layers_params"]), values["layers_params"], values["layers_params before"]),
            _beside(f"{values['weights_mib'] or 0:.3g}", values["weights_mib"], values["weights_mib before"]),
            _beside(short(values["model_flops"]), values["model_flops"], values["model_flops before"]),
            *(_time(costs, times, batch) for batch in batches),
        )
    return table


def _held(values: Values) -> str:
    """``7 and 9``: the experts of each layer."""
    numbers = [f"{values[name] or 0:.0f}" for name in sorted(values, key=len) if name.startswith("experts ")]
    return " and ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))


def _time(costs: Values, name: str, batch: int) -> str:
    value, whole = (costs[f"{each} model_ms batch={batch}"] for each in (name, "whole"))
    return _beside(milliseconds(value or 0), value, whole)


def _beside(text: str, value: float | None, whole: float | None) -> str:
    """An amount and its ratio to that of the whole model, where it differs."""
    return text if value == whole or not value or not whole else f"{text} ({value / whole:.2f}x)"


def _remarks(
    cell: Cell, headline: str, experts: int, steps: int, batches: Sequence[int], device: torch.device
) -> Iterator[str]:
    threads = f"{cell.threads} thread{'s' * (cell.threads > 1)}"
    timed = " and ".join(f"batch {batch}" for batch in batches)
    yield (
        f"Measured: {headline} on test data. {experts} experts a layer on average: how many each layer keeps follows "
        "their use in the whole model, which ones is the method's."
    )
    if steps:
        yield (
            f"Recovery: {steps} steps of batch {cell.batch}, half by the labels, half by the answers of the whole "
            "model, which itself is taught for as many."
        )
    yield (
        "Parameters of the expert layers, routers included; MiB of all weights; FLOPs per input of the mathematics at "
        f"the routing that comes; median times of the whole model at {timed}, in turns in one process. On "
        f"{device_name(device)}, {threads}, {cell.precision}, torch {machine.versions()['torch']}."
    )
