"""A check that imports a submission's variants, in a process of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from moebench.published.submission import Submission

Find = Callable[[Submission], Iterator[str]]


def sentences(find: Find, submission: Submission) -> tuple[str, ...]:
    """What a check finds here; one that ends in an exception has met what no publication holds."""
    found: list[str] = []
    try:
        found.extend(find(submission))
    except Exception as error:
        found.append(f"it cannot be checked: {type(error).__name__}: {str(error)[:200]}")
    return tuple(found)


def found(find: Find, submission: Submission) -> tuple[str, ...]:
    """The same from another process, which is believed in nothing but this."""
    from moebench.execution.processes import start

    with tempfile.TemporaryDirectory(prefix="moebench-") as folder:
        said = Path(folder) / "found.json"
        process = start(_say, find, submission.directory, submission.data, said, log=Path(folder) / "log")
        process.join()
        try:
            return tuple(map(str, json.loads(said.read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            return (f"it cannot be checked: its process ended with status {process.exitcode}",)


def _say(find: Find, directory: Path, data: Path | None, to: Path) -> None:
    """The body of that process."""
    to.write_text(json.dumps(sentences(find, Submission.read(directory, data))), encoding="utf-8")
