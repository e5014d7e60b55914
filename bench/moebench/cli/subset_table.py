"""What ``moebench subset`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from moebench import machine
from moebench.board.numbers import MISSING, fixed, milliseconds, plain, short
from moebench.measures.subset.cost import REPEATS, ROUNDS
from moebench.measures.subset.scores import NOTES, RANDOM_DRAWS
from moebench.records import Cell, Record
from moebench.tasks import get_task
from moebench.training.device import device_name

if TYPE_CHECKING:
    import torch

    from moebench.measures.subset.report import Row

WIDTH = 120
"""Of what does not go to a terminal."""


def print_comparison(rows: Sequence[Row], record: Record, score: str, inputs: int, device: torch.device) -> None:
    """The table; above it what was used, below it what was measured and on what machine."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    cell = Cell.from_json(record.cell)
    console.print(Text(f"{plain(cell.variant)}  {cell.task}  record {record.identity}", style="bold"))
    console.print(_table(rows, _headline(cell)))
    for line in _remarks(rows, record, score, inputs, device):
        console.print(Text(line))


def _headline(cell: Cell) -> str:
    return get_task(cell.task).info.ranked_by.name


def _table(rows: Sequence[Row], headline: str) -> Table:
    """Two lines a row: the whole model, and its expert layers alone; ratios are to all experts."""
    whole = rows[0].cost
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("experts at work")
    for title in (headline, "retained", "peak memory"):
        table.add_column(title, justify="right")
    table.add_column("of")
    for title in ("FLOPs per input", *(f"batch {batch}" for batch in whole.model_ms)):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cost, first = row.cost, row is rows[0]
        memory = MISSING if cost.peak_memory_mib is None else f"{cost.peak_memory_mib:.1f} MiB"
        numbers = (fixed(row.score), fixed(row.retained), memory)
        for lead, part, flops, all_flops, times, all_times in (
            ((Text(row.name), *numbers), "model", cost.model_flops, whole.model_flops, cost.model_ms, whole.model_ms),
            (("",) * 4, "layers", cost.layers_flops, whole.layers_flops, cost.layers_ms, whole.layers_ms),
        ):
            medians = [(times[batch].median, all_times[batch].median) for batch in times]
            table.add_row(
                *lead,
                part,
                _beside(short(flops), flops, all_flops, first),
                *(_beside(milliseconds(value), value, of_all, first) for value, of_all in medians),
            )
    return table


def _beside(text: str, value: float, whole: float, first: bool) -> str:
    """An amount and its ratio to that of all experts."""
    return text if first or not whole else f"{text} ({value / whole:.2f}x)"


def _remarks(rows: Sequence[Row], record: Record, score: str, inputs: int, device: torch.device) -> Iterator[str]:
    cell = Cell.from_json(record.cell)
    headline = _headline(cell)
    largest = max(rows[0].cost.model_ms)
    threads = f"{cell.threads} thread{'s' * (cell.threads > 1)}"
    yield (
        f"Measured: {headline} on {inputs:,} test inputs (random: mean of {RANDOM_DRAWS} draws); FLOPs of the "
        f"mathematics, a mean over {largest} inputs; memory of one pass of batch {largest}; median time of {ROUNDS} "
        f"rounds of {REPEATS} calls, in turns in one process. Layers: route, choose and compute of the expert layers "
        f"alone. On {device_name(device)}, {threads}, {cell.precision}, torch {machine.versions()['torch']}."
    )
    if score in NOTES:
        yield NOTES[score]
    recorded = record.scores.get(f"test_{headline}")
    if recorded is not None and abs(recorded - rows[0].score) * inputs > 0.5:
        yield f"The record itself says {fixed(recorded)} for all experts: another device, backend or precision."
