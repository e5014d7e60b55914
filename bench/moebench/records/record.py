"""What came of a run: the truth that boards, pages and MLflow are made from."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from moebench.records.cell import Cell

Status = Literal["done", "diverged", "oom", "timeout", "error", "not_installed", "over_budget", "skipped"]

SETTLED: frozenset[str] = frozenset({"done", "diverged"})
"""Statuses that are kept and ranked; every other one is tried again by the next run."""

SCHEMA = 1
"""Raised when a field changes its meaning. Records are written in this version."""

READ = (1,)
"""Versions that are read, each by its own JSON Schema; an older record is never rewritten."""


class Record(BaseModel):
    """One run. Written once, never edited.

    cell: as ``Cell.to_json``. identity: the digest of it.
    scores: numbers by name, units in the name (see docs/records.md); null where a score is not available, with the
        reason under the same name in ``reasons``.
    counts: sizes, parameters and FLOPs as the harness counted them.
    audit: of a final run, what the audit of the trained model found; empty where there was none.
    provenance: device, versions, backend, suite, row and times: what may differ between equal results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    identity: str
    cell: CellJson
    status: Status
    reason: str = ""
    scores: dict[str, FiniteFloat | None] = Field(default_factory=dict)
    reasons: dict[str, str] = Field(default_factory=dict)
    counts: Counts = Field(default_factory=dict)
    audit: dict[str, Any] = Field(default_factory=dict)
    details: Details = Field(default_factory=dict)
    provenance: Provenance = Field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether the run counts (done or diverged) rather than waits to be tried again."""
        return self.status in SETTLED


def is_settled(record: Record | None) -> bool:
    """Whether a run is there and counts, so that it need not run again."""
    return record is not None and record.settled


def _a_time(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"'{value[:40]}' is no time as ISO 8601 writes it") from None
    return value


class _Known(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


def _keeps(known: type[BaseModel]) -> AfterValidator:
    """Leaves a dictionary as it is, once its known names hold what they should."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        try:
            known.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return value

    return AfterValidator(check)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _schema(known: type[_Known]) -> WithJsonSchema:
    """An object with the known names, without titles and defaults, which say nothing of a record."""
    properties = known.model_json_schema()["properties"]
    kept = {name: {k: v for k, v in each.items() if k not in ("title", "default")} for name, each in properties.items()}
    return WithJsonSchema({"type": "object", "properties": kept})


class _Counts(_Known):
    sizes: list[int] = []
    total_params: int | None = None
    active_params: int | None = None
    model_params: int | None = None
    flops_per_input: int | None = None
    model_flops_per_input: int | None = None
    training_flops: int | None = None
    budget_error: float | None = None


class _FinalistTimes(_Known):
    """Of a latency session: a model's times, one a round."""

    row: str | None = None
    weights: str | None = None
    peak_memory_mib: float | None = None
    resident_memory_mib: float | None = None
    resident_memory_batch1_mib: float | None = None
    forward_ms: list[float | None] | None = None
    forward_batch1_ms: list[float | None] | None = None
    layers_ms: list[float | None] | None = None
    train_step_ms: list[float | None] | None = None
    token_ms: list[float | None] | None = None
    parameters: str | None = None
    no_graph: str | None = None
    forward_host_ms: list[float | None] | None = None
    forward_graph_ms: list[float | None] | None = None
    forward_batch1_host_ms: list[float | None] | None = None
    forward_batch1_graph_ms: list[float | None] | None = None
    layers_host_ms: list[float | None] | None = None
    layers_graph_ms: list[float | None] | None = None
    train_step_host_ms: list[float | None] | None = None
    token_host_ms: list[float | None] | None = None
    token_graph_ms: list[float | None] | None = None


class _Curve(_Known):
    """Of a trial or a final run: last steps of the windows; mean training loss of each; validation loss at its end."""

    steps: list[int] = []
    train_loss: list[float | None] = []
    validation_loss: list[float | None] = []


class _RouteTable(_Known):
    """Of a final run on text: where the most frequent tokens go, or those of a group; a row for each label."""

    labels: list[str] = []
    share: list[float] = []
    first: list[list[float]] = []
    last: list[list[float]] = []


class _Details(_Known):
    train_seconds: float | None = None
    inputs_per_second: float | None = None
    peak_memory_mib: float | None = None
    train_inputs: int | None = None
    curve: Annotated[dict[str, Any], _keeps(_Curve), _schema(_Curve)] = {}
    routes: dict[str, Annotated[dict[str, Any], _keeps(_RouteTable), _schema(_RouteTable)]] = {}
    finalists: dict[str, Annotated[dict[str, Any], _keeps(_FinalistTimes), _schema(_FinalistTimes)]] = {}


class _Provenance(_Known):
    device: str | None = None
    backend: str | None = None
    machine: str | None = None
    row: str | None = None
    suite: str | None = None
    started: Annotated[str, AfterValidator(_a_time)] | None = None
    seconds: float = 0.0
    versions: dict[str, str] = {}


_HINTS = get_type_hints(Cell)
_CELL: dict[str, Any] = {
    each.name: _HINTS[each.name] if _required(each) else (_HINTS[each.name], None) for each in dataclasses.fields(Cell)
}
_Cell = create_model("_Cell", __config__=ConfigDict(extra="forbid", strict=True), **_CELL)
CellJson = Annotated[dict[str, Any], _keeps(_Cell)]
"""The fields of a :class:`Cell`; those with a default may be absent, as in records older than they are."""

Counts = Annotated[dict[str, Any], _keeps(_Counts), _schema(_Counts)]
Details = Annotated[dict[str, Any], _keeps(_Details), _schema(_Details)]
Provenance = Annotated[dict[str, Any], _keeps(_Provenance), _schema(_Provenance)]
