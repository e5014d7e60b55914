"""Where results come from: what may differ between equal ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from moebench.board.model import Provenance
from moebench.runs import Record


def provenance(records: Sequence[Record]) -> Provenance | None:
    """Of the final runs of one row on one task; None without any."""
    if not records:
        return None
    return Provenance(
        code_digest=str(records[0].cell["code_digest"]),
        devices=_all(records, "device"),
        backends=_all(records, "backend"),
        versions=versions(records),
        started=min((str(r.provenance["started"]) for r in records if r.provenance.get("started")), default=""),
        seconds=round(sum(float(record.provenance.get("seconds", 0)) for record in records), 1),
    )


def versions(records: Iterable[Record]) -> dict[str, str]:
    """Software that the records were made with, by package; several versions are all named."""
    found: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.provenance.get("versions", {}).items():
            found.setdefault(package, set()).add(str(version))
    return {package: ", ".join(sorted(found[package])) for package in sorted(found)}


def _all(records: Iterable[Record], name: str) -> tuple[str, ...]:
    found: set[Any] = {record.provenance.get(name) for record in records} - {None}
    return tuple(sorted(map(str, found)))
