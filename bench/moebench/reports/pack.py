"""A part's finished runs as one text file, small enough to be committed: a line about the part, then a line a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moebench.errors import ResultsError
from moebench.plugins.find import is_place
from moebench.reports.evidence import Evidence, Part, Run, slim
from moebench.runs.canonical import canonical_json
from moebench.runs.store import parse_record
from moebench.suites import Suite

VERSION = 1


def pack_path(directory: Path, part: str) -> Path:
    """Where a part's pack lies."""
    return directory / f"{part}.jsonl"


def to_lines(part: Part) -> str:
    """The pack's text."""
    head = {
        "pack": VERSION,
        "part": part.name,
        "full": part.full,
        "seeds": part.seeds,
        "runs": len(part.runs),
        "missing": part.missing,
        "problem": part.problem,
    }
    return "".join(canonical_json(value) + "\n" for value in (head, *map(_line, part.runs)))


def read_packs(name: str, title: str, suites: Sequence[Suite], directory: Path) -> Evidence:
    """The evidence that the packs of a directory hold; a part without a pack has not run.

    :class:`ResultsError` where there is no pack, or one is damaged: its file and line.
    """
    paths = {suite.name: pack_path(directory, suite.name) for suite in suites}
    if not any(path.is_file() for path in paths.values()):
        raise ResultsError(f"'{directory}' holds no pack of suite '{name}', such as '{next(iter(paths))}.jsonl'.")
    return Evidence(name, title, tuple(_read(suite, paths[suite.name]) for suite in suites))


def _read(suite: Suite, path: Path) -> Part:
    if not path.is_file():
        return Part(suite, False, 0, (), problem="there is no pack of it")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ResultsError(f"the pack '{path}' is not text ({error.reason}).") from error
    except OSError as error:
        raise ResultsError(f"cannot read the pack '{path}' ({error.strerror}).") from error
    number = 1
    try:
        head = _object(lines[0] if lines else "")
        if head.get("pack") != VERSION or head.get("part") != suite.name:
            raise ValueError(f"not the first line of a pack of '{suite.name}', version {VERSION}")
        full, seeds, count, problem = bool(head["full"]), int(head["seeds"]), int(head["runs"]), str(head["problem"])
        missing = tuple((str(run), str(status), str(reason)) for run, status, reason in head["missing"])
        arms = set(suite.row_names)
        open_ended = any(map(is_place, suite.variants))  # a row from a file is known by name once it is imported
        runs = []
        for line in lines[1:]:
            number += 1
            runs.append(_run(line, None if open_ended else arms))
        if len(runs) != count:
            raise ValueError(f"the pack ends here, after {len(runs)} of {count} runs")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ResultsError(f"the pack '{path}' is damaged at line {number}: {why}.") from error
    return Part(suite, full, seeds, tuple(runs), missing, problem)


def _line(run: Run) -> dict[str, Any]:
    arrays = {name: array.tolist() for name, array in run.arrays.items()}
    return {"arm": run.arm, "index": run.index, "record": run.record.model_dump(mode="json"), "arrays": arrays}


def _run(line: str, arms: set[str] | None) -> Run:
    value = _object(line)
    record = slim(parse_record(json.dumps(value["record"])))
    if record.status != "done":
        raise ValueError(f"a run that is {record.status}, not done")
    if arms is not None and value["arm"] not in arms:
        raise ValueError(f"the suite has no arm '{value['arm']}'")
    arrays = {str(name): np.array(array, dtype=np.float64) for name, array in value["arrays"].items()}
    return Run(value["arm"], int(value["index"]), record, arrays)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not whole JSON ({error.msg} at {error.pos})") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
