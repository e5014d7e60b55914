"""A plan: works with dependencies, and which of them are ready to run, given the records there are.

Of a tuned row: trials, then the finals of the winner. Of a row of fixed settings: finals. Of either: measures of each
final that is done. Latency sessions (see ``latency``) come after all finals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from moebench import machine
from moebench.errors import ResultsError
from moebench.frames import Frame
from moebench.plans.rows import Row
from moebench.plugins.named import without_digest
from moebench.records import Cell, Record, is_settled
from moebench.suites import Suite
from moebench.tasks import Headline, get_task

if TYPE_CHECKING:
    from moebench.contract import LayerShape

Lookup = Callable[[str], Record | None]
"""Identity -> record, or None."""

SHARED = ("lr", "weight_decay")
"""Settings of the training loop: drawn once per task and trial, and enqueued for every variant."""


@dataclass(frozen=True)
class Group:
    """One study: a row on a task at a budget. ``amount`` is the row's own budget, ``budget`` the suite's.

    template: the cell of its runs but for kind, settings and seed. trials: the settings asked so far, in order.
    final_seeds: the fresh seeds of the winner. space: the dimensions that are tuned, as plain values, those of the
    training loop included. shared: the training loop's settings of every trial. problem: why none of it can run.
    unfit: combinations of choices that cannot meet the budget, for a sampler that asks later. broken: whether the
    problem is an exception of the plug-in's own, which may be cured outside the plan. tokens: T of a layer, on
    average, from which the time of a run is guessed. rank_by: as in the suite. frames: where the problem was raised.
    trial_steps: of a trial, where the suite says so; None: those of a final run.
    """

    row: str
    task: str
    budget: int
    amount: int
    template: dict[str, Any]
    trials: tuple[dict[str, Any], ...] = ()
    trial_seeds: tuple[int, ...] = ()
    final_seeds: tuple[int, ...] = ()
    space: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    shared: tuple[dict[str, float], ...] = ()
    problem: str = ""
    unfit: tuple[dict[str, Any], ...] = ()
    broken: bool = False
    tokens: int = 0
    rank_by: str | None = None
    frames: Sequence[Frame] = ()
    trial_steps: int | None = None

    @property
    def shorter_trials(self) -> bool:
        """Whether a trial has fewer steps than a final run."""
        return self.trial_steps is not None and self.trial_steps < self.template["steps"]

    @property
    def headline(self) -> Headline:
        """The score that selects trials and ranks."""
        return get_task(self.task).score_that_ranks(self.rank_by)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Group:
        """The inverse of ``dataclasses.asdict`` after a journey through JSON."""
        fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in value.items()}
        return cls(**fields)

    @cached_property
    def trial_cells(self) -> tuple[Cell, ...]:
        """The cells of tuning, trial 0 first."""
        return tuple(
            self._cell("trial", settings, seed) for settings, seed in zip(self.trials, self.trial_seeds, strict=True)
        )

    def winner(self, lookup: Lookup) -> int | None:
        """The trial of best validation score, then tie-break, then the earlier; None until all are settled."""
        records = [lookup(cell.identity) for cell in self.trial_cells]
        if not records or len(records) < len(self.shared) or not all(map(is_settled, records)):
            return None
        return min(range(len(records)), key=lambda index: (*_merit(records[index], self.headline), index))

    def final_cells(self, lookup: Lookup) -> tuple[Cell, ...]:
        """The cells of the winner on fresh seeds; empty until it is known."""
        winner = self.winner(lookup)
        if winner is None:
            return ()
        return tuple(self._cell("final", self.trials[winner], seed) for seed in self.final_seeds)

    def finals(self, lookup: Lookup) -> tuple[Record, ...] | None:
        """The records of the final runs, in the order of the seeds; None until all are settled."""
        records = [lookup(cell.identity) for cell in self.final_cells(lookup)]
        if not records or not all(map(is_settled, records)):
            return None
        return tuple(record for record in records if record is not None)

    def _cell(self, kind: str, settings: dict[str, Any], seed: int) -> Cell:
        return Cell(kind=kind, settings=dict(settings), seed=seed, **self.template_of(kind))  # type: ignore[arg-type] # a Kind

    def template_of(self, kind: str) -> dict[str, Any]:
        """The template of a trial or a final run."""
        return self.template | ({"steps": self.trial_steps} if kind == "trial" and self.trial_steps else {})


def score_of(record: Record, headline: Headline, part: str) -> float:
    """The headline of a settled run on ``part`` of the data: its floor where the run diverged."""
    value = record.scores.get(f"{part}_{headline.name}") if record.status == "done" else None
    return headline.floor if value is None else value


def _merit(record: Record | None, headline: Headline) -> tuple[float, ...]:
    """Sorts the best trial first; a diverged one last. Only validation scores are looked at."""
    if record is None or record.status != "done":
        return (float("inf"),)
    names = [f"validation_{name}" for name in (headline.name, headline.tie_break) if name]
    values = [record.scores.get(name) for name in names]
    if None in values:
        raise ResultsError(
            f"the trial {record.identity} is done and lacks {names[values.index(None)]}.", code="trial-without-score"
        )
    best, *rest = (value for value in values if value is not None)
    return (-best if headline.higher_is_better else best, *rest)


def mean_tokens(shapes: Sequence[LayerShape]) -> int:
    """T of a layer, on average."""
    return sum(shape.tokens or 0 for shape in shapes) // len(shapes)


@dataclass(frozen=True)
class Work:
    """A cell to run, and what running it takes beside what identifies it.

    row: as it is shown, with the settings that vary; entry: the row of the suite. index: of the trial or the seed.
    ranked: whether it is held to the rules of a board. alone: it measures time, so nothing else may run meanwhile.
    tokens: as of a :class:`Group`.
    """

    cell: Cell
    row: str
    spec: str
    index: int
    label: str
    entry: str = ""
    ranked: bool = True
    alone: bool = False
    tokens: int = 0

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Work:
        """The inverse of ``dataclasses.asdict`` after a journey through JSON."""
        return cls(**(value | {"cell": Cell.from_json(value["cell"])}))

    @property
    def of(self) -> str:
        """Identity of the run that must be done before; empty where there is none."""
        return str(self.cell.session.get("of", ""))

    @property
    def trained(self) -> bool:
        """Whether it trains; a final of no steps stands for initial weights, and is only measured."""
        return self.cell.kind != "derived" and self.cell.steps > 0


def _written(each: Group | Row | Work) -> dict[str, Any]:
    """Plain values; plans of earlier versions had no ``tokens``, ``rank_by``, ``frames``, ``trial_steps``, and no rows
    ``named`` by the suite, of a ``ladder``, or with a ``paper``, ``code`` or ``author``.
    """
    later = ("tokens", "rank_by", "named", "ladder", "frames", "trial_steps", "paper", "code", "author")
    return {name: value for name, value in dataclasses.asdict(each).items() if name not in later or value}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run of a suite is made of.

    protocol: as printed, with what was changed from the suite's. device: type, name and index it runs on.
    versions: of the software that latency is measured with. rows, groups: what is tuned and ranked. fixed: the finals
    of rows of fixed settings, seed by seed. measures: what identifies each of the suite's, by name, beside the run that
    it is of. full: whether it is the suite's full form.
    """

    suite: Suite
    protocol: str
    device: dict[str, str]
    backend: str | None
    data: str | None
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    fixed: tuple[Work, ...] = ()
    measures: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    full: bool = False
    versions: dict[str, str] = dataclasses.field(default_factory=machine.versions)

    @property
    def board_rows(self) -> tuple[Row, ...]:
        """The rows that have a place on the board."""
        return tuple(row for row in self.rows if not row.ladder)

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def groups_of(self, row: str) -> tuple[Group, ...]:
        """The row's groups, task by task and budget by budget."""
        return tuple(group for group in self.groups if group.row == row)

    def unusable(self) -> set[str]:
        """Specs of the rows of which nothing can run: a plug-in that cannot be used, or fits no study."""
        return {
            row.spec for row in self.rows if row.problem or all(group.problem for group in self.groups_of(row.name))
        }

    def cannot_run(self) -> Iterator[tuple[str, str, str]]:
        """(label, status, reason) of the rows and studies that this run was to work on and that cannot run at all."""
        selected = [row for row in self.rows if row.selected]
        yield from ((row.name, "not_installed", row.problem) for row in selected if row.problem)
        names = {row.name for row in selected}
        for group in self.groups:
            if group.problem and group.row in names:
                status = "error" if group.broken else "over_budget"
                yield f"{group.row} {without_digest(group.task)}", status, group.problem

    def frames(self) -> dict[str, Sequence[Frame]]:
        """Where the problems of rows and studies were raised, by the labels of :meth:`cannot_run`."""
        groups = {f"{group.row} {without_digest(group.task)}": group.frames for group in self.groups if group.frames}
        return {row.name: row.frames for row in self.rows if row.frames} | groups

    def selected_groups(self) -> tuple[Group, ...]:
        """The groups that this run works on and that can run."""
        selected = {row.name for row in self.rows if row.selected and not row.problem}
        return tuple(group for group in self.groups if group.row in selected and not group.problem)

    def training(self, lookup: Lookup) -> Iterator[Work]:
        """All training cells that are known by now: every trial, the finals of decided studies, the fixed rows."""
        for group in self.selected_groups():
            spec = self.row(group.row).spec
            for kind, cells in (("trial", group.trial_cells), ("final", group.final_cells(lookup))):
                for index, cell in enumerate(cells):
                    label = f"{group.row} {without_digest(group.task)} {kind} {index}"
                    yield Work(cell, group.row, spec, index, label, entry=group.row)
        yield from (work for work in self.fixed if work.trained)

    def measuring(self, lookup: Lookup, *, alone: bool) -> Iterator[Work]:
        """The measures of all finals that are known by now, done or not; those that need the machine alone, or those
        that do not.
        """
        if not self.measures:
            return
        sizes = self.suite.ladder_rows
        finals = (work for work in self.training(lookup) if work.cell.kind == "final" and work.ranked)
        tuned = (work for work in finals if work.entry not in sizes)
        for final in (*tuned, *self.fixed):
            for measure in self.suite.measure:
                if measure.name not in self.measures:
                    continue  # of a published plan, which has only those of its board
                if measure.alone == alone and measure.is_of(final.entry, final.index):
                    of = final.cell.identity if final.trained else ""
                    cell = dataclasses.replace(
                        final.cell, kind="derived", session={**self.measures[measure.name], "of": of}
                    )
                    label = f"{final.label} {measure.name}"
                    yield dataclasses.replace(final, cell=cell, label=label, alone=alone)

    def works(self, lookup: Lookup) -> Iterator[Work]:
        """All that is known by now."""
        yield from self.training(lookup)
        yield from self.measuring(lookup, alone=False)
        yield from self.measuring(lookup, alone=True)

    def ready(self, lookup: Lookup, *, alone: bool = False) -> Iterator[Work]:
        """What can run now: training and measures, side by side, or the measures that need the machine alone."""
        if not alone:
            yield from self.training(lookup)
        for work in self.measuring(lookup, alone=alone):
            record = lookup(work.of) if work.of else None
            if not work.of or (record is not None and record.status == "done"):
                yield work

    @property
    def sessions(self) -> int:
        """Latency sessions: one for each task and budget of the board at which a row can run."""
        places = {(group.task, group.budget) for group in self.groups if not group.problem}
        return sum(budget in self.suite.budgets for _, budget in places)

    def expected_runs(self) -> int:
        """Training runs and measures of this run, what depends on a winner not yet known included."""
        tuned = sum(len(group.shared) + len(group.final_seeds) for group in self.selected_groups())
        return tuned + sum(work.trained for work in self.fixed) + self.expected_measures()

    def expected_measures(self) -> int:
        """The measures among them."""
        groups = [group for group in self.selected_groups() if group.row not in self.suite.ladder_rows]
        tuned = [(group.row, index) for group in groups for index in range(len(group.final_seeds))]
        finals = (*tuned, *((work.entry, work.index) for work in self.fixed))
        measures = [measure for measure in self.suite.measure if measure.name in self.measures]
        return sum(measure.is_of(*final) for measure in measures for final in finals)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the plan's file."""
        value = {
            "suite": self.suite.model_dump(mode="json"),
            "protocol": self.protocol,
            "device": self.device,
            "backend": self.backend,
            "data": self.data,
            "rows": [_written(row) for row in self.rows],
            "groups": [_written(group) for group in self.groups],
            "versions": self.versions,
        }
        # Only where there are any: published plans were written before there were such keys.
        later = {
            "fixed": [_written(work) for work in self.fixed],
            "measures": self.measures,
            "full": self.full,
        }
        return value | {name: each for name, each in later.items() if each}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """The inverse of :meth:`to_json`; also of the plans of earlier versions, which had no fixed rows."""
        plan = cls(
            suite=Suite.model_validate(value["suite"]),
            protocol=value["protocol"],
            device=value["device"],
            backend=value["backend"],
            data=value["data"],
            rows=tuple(map(Row.from_json, value["rows"])),
            groups=tuple(Group.from_json(group) for group in value["groups"]),
            fixed=tuple(map(Work.from_json, value.get("fixed", ()))),
            measures=value.get("measures", {}),
            full=value.get("full", False),
            versions=value["versions"],
        )
        plan._hold_together()
        return plan

    def _hold_together(self) -> None:
        """ValueError or TypeError where what was read is no plan: a study of no row, or one without its cells."""
        if lacking := {"type", "name", "torch"} - self.device.keys():
            raise ValueError(f"its device lacks {', '.join(sorted(lacking))}")
        rows, tasks = {row.name for row in self.rows}, set(self.suite.task_names)
        budgets = {row.name: [row.ladder] if row.ladder else self.suite.budgets for row in self.rows}
        if len(rows) < len(self.rows):
            raise ValueError("two of its rows have one name")
        if not rows and not self.fixed:
            raise ValueError("it has no rows")
        for group in self.groups:
            name = f"the study of '{group.row}' on '{group.task}' at {group.budget}"
            if group.row not in rows or group.task not in tasks or group.budget not in budgets[group.row]:
                raise ValueError(f"{name} is of no row, task and budget of its plan")
            if len(group.trial_cells) > len(group.shared):
                raise ValueError(f"{name} has {len(group.trial_cells)} trials, and {len(group.shared)} are planned")
            if not group.problem and not (group.trials and len(group.final_seeds) == self.suite.seeds):
                raise ValueError(f"{name} has no trials, or not the {self.suite.seeds} final seeds of its suite")
            if flat := [n for n, d in group.space.items() if "low" in d and not d["low"] < d["high"]]:
                raise ValueError(f"{name} has no room for '{flat[0]}': its range ends where it begins")
