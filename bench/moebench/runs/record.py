"""What came of a run: the truth that boards, pages and MLflow are made from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from moebench.runs.known import Counts, Details, Provenance

Status = Literal["done", "diverged", "oom", "timeout", "error", "not_installed", "over_budget", "skipped"]

SETTLED: frozenset[str] = frozenset({"done", "diverged"})
"""Statuses that are kept and ranked; every other one is tried again by the next run."""

SCHEMA = 1
"""Raised when a field changes its meaning. Records are written in this version."""

READ = (1,)
"""Versions that are read, each as its own JSON Schema says; an older record is never rewritten."""


class Record(BaseModel):
    """One run. Written once, never edited.

    cell: as ``Cell.to_json``. identity: the digest of it.
    scores: numbers by name, units in the name (see docs/records.md); null where a score is not available, with the
        reason under the same name in ``reasons``.
    counts: sizes, parameters and FLOPs as the harness counted them.
    provenance: device, versions, backend, suite, row and times: what may differ between equal results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    identity: str
    cell: dict[str, Any]
    status: Status
    reason: str = ""
    scores: dict[str, FiniteFloat | None] = Field(default_factory=dict)
    reasons: dict[str, str] = Field(default_factory=dict)
    counts: Counts = Field(default_factory=dict)
    details: Details = Field(default_factory=dict)
    provenance: Provenance = Field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether the run counts (done or diverged) rather than waits to be tried again."""
        return self.status in SETTLED


def is_settled(record: Record | None) -> bool:
    """Whether a run is there and counts, so that it need not run again."""
    return record is not None and record.settled
