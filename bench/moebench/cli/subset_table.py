"""What ``moebench subset`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from moebench.board.numbers import MISSING, fixed, milliseconds, short
from moebench.cli.trained import machine_words, print_table, with_ratio
from moebench.measures.subset.cost import REPEATS, ROUNDS
from moebench.measures.subset.scores import NOTES, RANDOM_DRAWS
from moebench.records import Record

if TYPE_CHECKING:
    from moebench.measures import Subject
    from moebench.measures.subset.report import SubsetRow

WIDTH = 120


def print_comparison(rows: Sequence[SubsetRow], record: Record, score: str, inputs: int, subject: Subject) -> None:
    """The table; above it what was used, below it what was measured and on what machine."""
    headline = subject.task.info.ranked_by.name
    machine = machine_words(record, subject.device)
    print_table(record, _table(rows, headline), _remarks(rows, record, score, headline, inputs, machine), WIDTH)


def _table(rows: Sequence[SubsetRow], headline: str) -> Table:
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
        cost = row.cost
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
                with_ratio(short(flops), flops, all_flops),
                *(with_ratio(milliseconds(value), value, of_all) for value, of_all in medians),
            )
    return table


def _remarks(
    rows: Sequence[SubsetRow], record: Record, score: str, headline: str, inputs: int, machine: str
) -> Iterator[str]:
    largest = max(rows[0].cost.model_ms)
    yield (
        f"Measured: {headline} on {inputs:,} test inputs (random: mean of {RANDOM_DRAWS} draws); FLOPs of the "
        f"mathematics, a mean over {largest} inputs; memory of one pass of batch {largest}; median time of {ROUNDS} "
        f"rounds of {REPEATS} calls, in turns in one process. Layers: route, choose and compute of the expert layers "
        f"alone. On {machine}."
    )
    if score in NOTES:
        yield NOTES[score]
    recorded = record.scores.get(f"test_{headline}")
    if recorded is not None and abs(recorded - rows[0].score) * inputs > 0.5:
        yield f"The record has {fixed(recorded)} for all experts: another device, backend or precision."
