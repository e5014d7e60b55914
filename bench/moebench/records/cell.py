"""The unit of work: everything that determines a result, and the identity made of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from moebench.records.canonical import digest

Kind = Literal["trial", "final", "latency", "derived"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What determines one result. Its digest is the identity under which the record is found again.

    Suite name, row name, backend, device and software versions are not in it: they are provenance. A latency cell
    is the exception that design calls for: one session compares ``finalists`` (identities of final cells) on one
    device, software and backend, which it carries in ``session``. A derived cell measures a trained model once more:
    ``session`` names the measure, what it takes, and the identity of the run that it is derived ``of``; for one of
    time, device, software and backend too.
    """

    kind: Kind
    protocol: str
    task: str
    data_digest: str
    split: str
    host: dict[str, Any]
    variant: str
    code_digest: str
    settings: dict[str, Any]
    axis: Literal["total", "active", "flops"]
    budget: int
    seed: int
    steps: int
    batch: int
    micro_batch: int | None
    precision: str
    threads: int
    optimiser: str = "adamw_cosine"
    session: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """Twenty hexadecimal digits; equal for equal cells on every machine."""
        return digest({each.name: getattr(self, each.name) for each in dataclasses.fields(self)})

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the record."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Cell:
        """The inverse of :meth:`to_json`."""
        return cls(**value)
