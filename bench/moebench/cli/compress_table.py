"""What ``moebench compress`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from moebench.board.numbers import fixed, milliseconds, short
from moebench.cli.trained import machine_words, print_table, with_ratio
from moebench.records import Record

if TYPE_CHECKING:
    from moebench.measures import Subject

WIDTH = 140

Values = Mapping[str, float | None]


def print_rows(
    scores: Mapping[str, Values],
    costs: Values,
    record: Record,
    experts: int,
    steps: int,
    batches: Sequence[int],
    subject: Subject,
) -> None:
    """The model as it was, and a row for each method; above it what was used, below it how it was measured."""
    headline = subject.task.info.ranked_by.name
    machine = machine_words(record, subject.device)
    remarks = _remarks(int(record.cell["batch"]), headline, experts, steps, batches, machine)
    print_table(record, _table(scores, costs, headline, experts, steps, batches), remarks, WIDTH)


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
            with_ratio(short(values["layers_params"]), values["layers_params"], values["layers_params before"]),
            with_ratio(f"{values['weights_mib'] or 0:.3g}", values["weights_mib"], values["weights_mib before"]),
            with_ratio(short(values["model_flops"]), values["model_flops"], values["model_flops before"]),
            *(_time(costs, times, batch) for batch in batches),
        )
    return table


def _held(values: Values) -> str:
    """``7 and 9``: the experts of each layer."""
    numbers = [f"{values[name] or 0:.0f}" for name in sorted(values, key=len) if name.startswith("experts ")]
    return " and ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))


def _time(costs: Values, name: str, batch: int) -> str:
    value, whole = (costs[f"{each} model_ms batch={batch}"] for each in (name, "whole"))
    return with_ratio(milliseconds(value or 0), value, whole)


def _remarks(
    batch: int, headline: str, experts: int, steps: int, batches: Sequence[int], machine: str
) -> Iterator[str]:
    timed = " and ".join(f"batch {each}" for each in batches)
    yield (
        f"Measured: {headline} on test data. {experts} experts a layer on average: how many each layer keeps follows "
        "their use in the whole model, which ones is the method's."
    )
    if steps:
        yield (
            f"Recovery: {steps} steps of batch {batch} with equal weights on the label loss and on distillation from "
            "the whole model, which is itself fine-tuned for as many."
        )
    yield (
        "Parameters of the expert layers, routers included; MiB of all weights; FLOPs per input of the mathematics at "
        f"the measured routing; median times of the whole model at {timed}, in turns in one process. On {machine}."
    )
