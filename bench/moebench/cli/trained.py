"""What the commands share that take a trained model's record: the model with its data, and a table about it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.errors import DataError
from moebench.text import counted_noun, one_line, plain_console

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from moebench.measures import Subject
    from moebench.records import Record, Store


def subject_of(store: Store, record: Record, device: str | None, data: Path | None) -> Subject:
    """The trained model on the device asked for, with its data; :class:`DataError` if these are not the record's."""
    import torch

    from moebench.measures import Subject
    from moebench.plans.history import remember_suites
    from moebench.records import Cell
    from moebench.runner.trained import load_trained
    from moebench.tasks import get_task
    from moebench.training.device import choose_device

    where, cell = choose_device(device), Cell.from_json(record.cell)
    remember_suites(store.root)
    task = get_task(cell.task)
    if (digest := task.digest(data)) != cell.data_digest:
        raise DataError(
            f"the copy of {task.info.label_of(digest)} that is here is not the one of record {record.identity}; "
            "name the directory that holds it with --data DIR.",
            code="other-data-copy",
        )
    torch.set_num_threads(cell.threads)
    model = load_trained(store, record, where)
    return Subject(model, task, data, where, cell.precision, record.scores, cell.seed)


def print_table(record: Record, table: Table, remarks: Iterable[str], width: int) -> None:
    """The record, the table, and remarks on it. width: of what does not go to a terminal."""
    from rich.text import Text

    from moebench.plugins.named import without_digest

    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=width)
    title = f"{one_line(record.cell['variant'])}  {without_digest(record.cell['task'])}  record {record.identity}"
    console.print(Text(title, style="bold"))
    console.print(table)
    for line in remarks:
        console.print(Text(line))


def machine_words(record: Record, device: torch.device) -> str:
    """Device, threads, precision and torch's version."""
    from moebench.machine import versions
    from moebench.training.device import device_name

    threads = counted_noun(record.cell["threads"], "thread")
    return f"{device_name(device)}, {threads}, {record.cell['precision']}, torch {versions()['torch']}"


def with_ratio(text: str, value: float | None, whole: float | None) -> str:
    """An amount and its ratio to that of the whole model, where it differs."""
    return text if value == whole or not value or not whole else f"{text} ({value / whole:.2f}x)"
