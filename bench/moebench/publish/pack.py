"""A suite's plan and its records as one text file: a line about the suite, then a line a run, by identity."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moebench.errors import ResultsError
from moebench.files import LARGE, read_text
from moebench.plans.plan import Plan
from moebench.plugins.find import is_place
from moebench.records import Record
from moebench.records.store import parse_json, parse_record
from moebench.text import shortened

VERSION = 1
"""Raised when the first line changes its meaning; records have a version of their own."""

NAME = "records.jsonl"
"""The file's name in a published directory."""


@dataclass(frozen=True)
class Pack:
    """A plan and the records there are of it; ``pack.get`` is a :data:`~moebench.plans.plan.Lookup`."""

    plan: Plan
    records: Mapping[str, Record]

    def get(self, identity: str) -> Record | None:
        """The record of an identity, or None."""
        return self.records.get(identity)


def to_lines(plan: Plan, records: Iterable[Record]) -> str:
    """The pack's text; equal plans and records give equal text."""
    ordered = sorted(records, key=lambda record: record.identity)
    head = {"pack": VERSION, "records": len(ordered), "plan": plan.to_json()}
    return "".join(f"{to_line(value)}\n" for value in (head, *(each.model_dump(mode="json") for each in ordered)))


def to_line(value: Any) -> str:
    """JSON without spaces; the order of keys is kept, for a host's settings are shown in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def read_pack(path: Path) -> Pack:
    """The pack in a file; :class:`ResultsError` where it cannot be read, naming the line that is damaged."""
    try:
        lines = read_text(path, LARGE).splitlines()
    except OSError as error:
        raise ResultsError(
            f"cannot read the pack '{path}' ({error.strerror}).", code="unreadable-pack", path=path
        ) from error
    except UnicodeDecodeError as error:
        raise ResultsError(
            f"the pack '{path}' is not text ({error.reason}).", code="pack-not-text", path=path
        ) from error
    number = 1
    try:
        plan, count = _head(lines[0] if lines else "")
        records = {}
        for line in lines[1:]:
            number += 1
            record = parse_record(line)
            _check_places(record.cell)
            if record.identity in records:
                raise ValueError(f"the record {record.identity} is there twice")
            records[record.identity] = record
        if len(records) != count:
            raise ValueError(f"the pack ends here, after {len(records)} of {count} records")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise ResultsError(
            f"the pack '{path}' is damaged at line {number}: {why.rstrip('.')}.",
            code="damaged-pack",
            path=path,
            line=number,
        ) from error
    return Pack(plan, records)


def _head(line: str) -> tuple[Plan, int]:
    head = parse_json(line)
    if not isinstance(head, dict) or head.get("pack") != VERSION:
        raise ValueError(f"not the first line of a pack of version {VERSION}")
    _check_places(head["plan"])
    return Plan.from_json(head["plan"]), int(head["records"])


def _check_places(value: Any) -> None:
    """ValueError where a task, host, measure or study is a file: to read published results would execute it."""
    if isinstance(value, list):
        for each in value:
            _check_places(each)
    elif isinstance(value, dict):
        named = [name for key, each in value.items() for name in _plugins(key, each)]
        if place := next((name for name in named if isinstance(name, str) and is_place(name)), ""):
            raise ValueError(f"it rests on '{shortened(place)}', and nothing but a variant is published as a file")
        for each in value.values():
            _check_places(each)


def _plugins(key: str, value: Any) -> Iterable[Any]:
    """What an entry of a plan or cell names: tasks, hosts, measures, a study."""
    if key in ("task", "kind", "study", "measure") and isinstance(value, str):
        return [value]
    if key in ("task", "host"):
        return [each.get("name") for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]
    return value.values() if key == "plugins" and isinstance(value, dict) else []
