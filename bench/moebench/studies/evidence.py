"""What a report rests on: the finished runs of each part, read from a results directory or from packs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moebench.errors import DataError
from moebench.plans.generations import grown
from moebench.plans.plan import Plan
from moebench.plugins.named import without_digest
from moebench.records import Record, Store
from moebench.suites import Suite
from moebench.suites.request import Request

Array = NDArray[np.float64]
Series = dict[int, float]
"""Training seed (its index) -> score."""

DIGITS = 6
"""Significant digits of the arrays that are kept."""

PROVENANCE = ("device", "backend", "versions")
"""What a report prints of where a run was made; when, and for which suite first, is left out."""


@dataclass(frozen=True)
class Run:
    """A finished run of a row. index: of its training seed. arrays: those that figures need, of
    the first seed only.
    """

    row: str
    index: int
    record: Record
    arrays: Mapping[str, Array] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """``final``, or the name of the measure of a derived run."""
        return without_digest(str(self.record.cell["session"].get("measure", self.record.cell["kind"])))

    @property
    def trained(self) -> bool:
        """Whether it is, or measures, a trained model."""
        return self.record.cell["kind"] == "final" or bool(self.record.cell["session"]["of"])

    def setting(self, name: str) -> Any:
        """What its measure takes, a setting of the layer, or a field of the cell such as its task; None where that is a
        default.
        """
        cell = self.record.cell
        places = (cell["session"].get("takes", {}), cell["settings"], cell)
        return next((place[name] for place in places if name in place), None)


@dataclass(frozen=True)
class Part:
    """The final runs and measures of one suite, in the order of its plan.

    missing: (run, status, reason) of those that are not done.
    problem: why it could not be planned, if so; it then has no runs.
    """

    suite: Suite
    full: bool
    seeds: int
    runs: tuple[Run, ...]
    missing: tuple[tuple[str, str, str], ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """The suite's."""
        return self.suite.name


@dataclass(frozen=True)
class Evidence:
    """The parts of a series, or one suite alone. name, title: of the experiment."""

    name: str
    title: str
    parts: tuple[Part, ...]

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return any(part.runs for part in self.parts)

    def find(self, part: str, kind: str, row: str, **settings: Any) -> Iterator[Run]:
        """The runs of one kind of a row, with these settings."""
        for each in self.parts:
            for run in each.runs if each.name == part else ():
                if run.kind == kind and run.row == row and all(run.setting(n) == v for n, v in settings.items()):
                    yield run

    def values(self, part: str, kind: str, row: str, score: str, **settings: Any) -> Series:
        """One score by training seed; seeds that lack it are left out."""
        found = ((run.index, run.record.scores.get(score)) for run in self.find(part, kind, row, **settings))
        return {index: value for index, value in found if value is not None}

    def experts(self, part: str, kind: str, row: str, *, least: int = 1) -> list[int]:
        """The numbers of experts that a row has runs of, from ``least`` on, in order."""
        found = {run.setting("experts") for run in self.find(part, kind, row)}
        return sorted(experts for experts in found if isinstance(experts, int) and experts >= least)


def part_left_out(request: Request, error: DataError) -> Part:
    """A part whose data set is not there, so that nothing of it can have run."""
    return Part(request.suite, request.full, 0, (), problem=str(error))


def of_plans(
    name: str, title: str, plans: Sequence[Plan | Part], store: Store, arrays: Collection[str] = ()
) -> Evidence:
    """What the store holds of these plans, with these arrays. A part that could not be planned stands as it is."""
    return Evidence(name, title, tuple(p if isinstance(p, Part) else part_of(p, store, arrays) for p in plans))


def part_of(plan: Plan, store: Store, arrays: Collection[str]) -> Part:
    """What the store holds of one plan."""
    runs: list[Run] = []
    missing: list[tuple[str, str, str]] = []
    plan = grown(plan, store.get)
    for group in plan.selected_groups():
        if group.winner(store.get) is None:
            missing.append((f"{group.row} {without_digest(group.task)} {group.budget:,}", "not tuned", ""))
    works = [work for work in plan.works(store.get) if work.cell.kind != "trial"]
    for work in works:
        record = store.get(work.cell.identity)
        if record is None:
            missing.append((work.label, "not run", ""))
        elif record.status != "done":
            missing.append((work.label, record.status, record.reason))
        else:
            found = store.arrays(record.identity) if arrays and work.index == 0 else {}
            runs.append(Run(work.entry, work.index, slim(record), kept(found, arrays)))
    return Part(plan.suite, plan.full, plan.suite.seeds, tuple(runs), tuple(missing))


def slim(record: Record) -> Record:
    """The record without what no report uses: sizes and times repeated in every measure of one model."""
    return record.model_copy(
        update={
            "counts": {} if record.cell["kind"] == "derived" else record.counts,
            "details": {},
            "provenance": {name: record.provenance[name] for name in PROVENANCE if name in record.provenance},
        }
    )


def kept(arrays: Mapping[str, Any], names: Collection[str]) -> dict[str, Array]:
    """The arrays of these names, rounded, so that a pack equals the store that it was made from."""
    return {name: rounded(arrays[name]) for name in names if name in arrays}


def rounded(array: Any) -> Array:
    """To :data:`DIGITS` significant digits."""
    values = np.asarray(array, dtype=np.float64)
    return np.array([float(f"{x:.{DIGITS}g}") for x in values.flat], dtype=np.float64).reshape(values.shape)
