"""What a worker needs to run one cell; plain values, so that it travels to any process or machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from moebench.records import Cell

NO_WEIGHTS = "none"
"""The weights of a finalist that is not timed, because its trained ones were not kept."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell and how to run it.

    spec: where the variant is found; pickled: the variant itself (by cloudpickle), for one given as an object.
    save_weights: keep the final weights of a final run. ranked: whether all rules of the budget apply, beyond the size.
    checkpoint_seconds: of training between two checkpoints.
    ranks: processes that train the model together; the numbers agree to rounding.
    alone: it measures time, so nothing else may run on the machine meanwhile. plugins: where tasks, hosts and measures
    are found, as in a :class:`~moebench.suites.Suite`. code: the digest of the variant's code, which a record keeps; a
    built-in variant is identified by its revision instead. thin: as ``thin_sidecars`` of a suite. graphs and
    deterministic: as of ``[training]``.
    """

    cell: Cell
    row: str
    spec: str
    results: Path
    device: str
    label: str = ""
    suite: str = ""
    data: Path | None = None
    backend: str | None = None
    save_weights: bool = False
    pickled: bytes | None = None
    ranked: bool = True
    checkpoint_seconds: float = 60.0
    ranks: int = 1
    alone: bool = False
    plugins: dict[str, str] = field(default_factory=dict)
    code: str = ""
    thin: bool = False
    graphs: bool = False
    deterministic: bool = False
