"""Whether the data of a record are here: asked by the commands that take a trained model's record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moebench.records import Cell, Record


def check_data(record: Record, cell: Cell, data: Path | None) -> None:
    """:class:`DataError` if the data are missing, or are not those of the record."""
    from moebench.errors import DataError
    from moebench.tasks import get_task

    task = get_task(cell.task)
    if task.digest(data) != cell.data_digest:
        raise DataError(
            f"the copy of {task.label(data)} that is here is not the one of record {record.identity}; "
            "name the directory that holds it with --data DIR.",
            code="other-data-copy",
        )
