"""All runs that MLflow should have of a plan, from the records there are, and its board and report among them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from moebench.board.files import FIGURES
from moebench.board.latency import Clock
from moebench.mlflow_store.content import Content, CurvePoint, RunEntry, Times, finite, shortened, texts_of, version_of
from moebench.mlflow_store.labels import (
    budget_suffix,
    experiment_tags,
    provenance_params,
    run_tags,
    status_tags,
    times,
)
from moebench.mlflow_store.runs import Measured, row_entry, seed_entry, study_entry, trained_entry
from moebench.mlflow_store.views import SHARED_VIEW, shared_view
from moebench.plans.latency import finalist, latency_cells
from moebench.plans.plan import Group, Lookup, Plan
from moebench.plugins.named import without_digest
from moebench.records import Record, Store
from moebench.records.canonical import digest

NOTE_LENGTH = 5000
"""MLflow before 3.17 takes no longer note."""

NONE: Mapping[str, str] = MappingProxyType({})


def entries(
    plan: Plan, store: Store, lookup: Lookup, board: Path, report: Path | None, *, live: bool = False
) -> Iterator[RunEntry]:
    """Studies and fixed rows, each before its runs, then latency sessions, the board in the directory ``board``, and
    the page of the report.
    """
    clocks = [(budget, Clock.of(plan, budget, lookup)) for budget in plan.suite.budgets]
    timed = {(task, budget): _timings(clock, task) for budget, clock in clocks for task in plan.suite.task_names}
    measured, waiting = _measured(plan, lookup)
    # A run is written once, with what was measured of it: not before that is there, while it may still come.
    unwritten = waiting if live else set[str]()

    def records_of(record: Record) -> Measured:
        return (record, *measured.get(record.identity, ()))

    for group in plan.groups:
        runs = list(_runs(group, lookup))
        if runs:
            latency_ms = timed.get((group.task, group.budget), {}).get(finalist(group, lookup), {})
            study = study_entry(plan, group, runs, lookup, latency_ms, live=live)
            yield study
            for label, run in runs:
                if run.identity not in unwritten:
                    yield trained_entry(plan, group, label, records_of(run), study.key, store)
    rows: dict[str, list[Measured]] = {}
    for work in plan.works(lookup):
        record = lookup(work.cell.identity)
        if record is not None and record.identity not in unwritten and not work.ranked and not work.of:
            rows.setdefault(work.row, []).append(records_of(record))
    for name, seeds in rows.items():
        row = row_entry(plan, name, seeds)
        yield row
        for index, records in enumerate(seeds):
            yield seed_entry(plan, name, index, records, row.key, store)
    for cell in latency_cells(plan, lookup):
        if (session := lookup(cell.identity)) is not None:
            yield _latency_entry(plan, session, timed[cell.task, cell.budget])
    if _is_of(plan, board / "board.json"):
        yield _board_entry(plan, board)
    if report is not None:
        files = (report, *sorted((report.parent / "figures").glob("*.[sp][vn]g")))
        version = version_of([digest([path.name, path.read_bytes().hex()]) for path in files])
        yield _pages(plan, "report", version, files)


def _measured(plan: Plan, lookup: Lookup) -> tuple[dict[str, list[Record]], set[str]]:
    """What was measured of each final run, and the runs of which something is still to be measured."""
    measured: dict[str, list[Record]] = {}
    waiting = set()
    for alone in (False, True):
        for work in plan.measuring(lookup, alone=alone):
            record = lookup(work.cell.identity)
            if record is None:
                waiting.add(work.of)
            elif work.of:
                measured.setdefault(work.of, []).append(record)
    return measured, waiting


def _runs(group: Group, lookup: Lookup) -> Iterator[tuple[str, Record]]:
    """Label and record of every run of a group that has one."""
    for label, cells in (("trial", group.trial_cells), ("seed", group.final_cells(lookup))):
        for index, cell in enumerate(cells):
            record = lookup(cell.identity)
            if record is not None:
                yield f"{label} {index}", record


Timings = Mapping[str, Mapping[str, float]]
"""Identity of a finalist -> its medians over rounds (forward_ms, ...), and their paired ratios to dense."""


def _latency_entry(plan: Plan, record: Record, timed: Timings) -> RunEntry:
    """The run of a session."""
    version = version_of(record.model_dump(mode="json"))
    key = f"latency/{record.identity}"
    return RunEntry(key=key, version=version, content=lambda: _latency_content(plan, record, timed))


def _timings(clock: Clock, task: str) -> Timings:
    clock = clock.only(task)
    (session,) = clock.sessions
    rows = {identity: row for (row, of), identity in clock.identities.items() if of == task}
    found = session.finalists
    return {identity: _medians(clock, row, found[identity]) for identity, row in rows.items() if identity in found}


def _medians(clock: Clock, row: str, finalist: dict[str, Any]) -> dict[str, float]:
    read = {name: timing for name in _rounds(finalist) if (timing := clock.read(row, name)[0]) is not None}
    ratios = {name: ratio for name, timing in read.items() if (ratio := timing.ratio_to_dense) is not None}
    return finite(
        {
            **{name: timing.value for name, timing in read.items()},
            **{f"{name.removesuffix('_ms')}_ratio_to_dense": ratio.value for name, ratio in ratios.items()},
            "forward_peak_memory_mib": finalist.get("peak_memory_mib"),
            **{name: finalist.get(name) for name in ("resident_memory_mib", "resident_memory_batch1_mib")},
        }
    )


def _rounds(finalist: dict[str, Any]) -> dict[str, list[float]]:
    """What was measured in every round, by name."""
    return {name: values for name, values in finalist.items() if isinstance(values, list) and values}


def _latency_content(plan: Plan, record: Record, timed: Timings) -> Content:
    cell, finalists, spent = record.cell, record.details.get("finalists", {}), times(record)
    kept = {name: cell[name] for name in ("task", "axis", "budget", "batch", "precision", "threads")}
    kept |= {name: cell["session"].get(name) for name in ("rounds", "repeats")}
    tags = run_tags(plan, "latency", record.identity, task=cell["task"], budget=cell["budget"])
    return Content(
        name=f"latency {without_digest(cell['task'])}{budget_suffix(plan, cell['budget'])}",
        status="FINISHED" if record.settled else "FAILED",
        times=spent,
        tags=tags | status_tags(record),
        params=texts_of(kept) | provenance_params(record),
        metrics={
            f"{name}/{each['row']}": value
            for identity, each in finalists.items()
            for name, value in timed.get(identity, {}).items()
        },
        curves=tuple(
            CurvePoint(f"rounds/{name}/{each['row']}", index + 1, value, spent.ended)
            for each in finalists.values()
            for name, values in _rounds(each).items()
            for index, value in enumerate(values)
        ),
        texts={"record.json": record.model_dump_json(indent=1) + "\n"},
    )


def _is_of(plan: Plan, path: Path) -> bool:
    """Whether there is a board, and it is of this suite and protocol."""
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
        return bool((board["suite"], board["protocol"]) == (plan.suite.name, plan.protocol))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _board_entry(plan: Plan, directory: Path) -> RunEntry:
    files = tuple(path for suffix in ("json", "md", "html", "csv") if (path := directory / f"board.{suffix}").is_file())
    texts = {path.suffix: path.read_text(encoding="utf-8") for path in files}
    about = {SHARED_VIEW: shared_view(plan)}
    if ".md" in texts:
        about["mlflow.note.content"] = shortened(texts[".md"], NOTE_LENGTH)
    figures = sorted((directory / FIGURES).glob("*.png"))
    return _pages(plan, "board", version_of([*texts.values(), about[SHARED_VIEW]]), (*files, *figures), about)


def _pages(plan: Plan, kind: str, version: str, files: tuple[Path, ...], about: Mapping[str, str] = NONE) -> RunEntry:
    """A run whose artifacts are pages and their figures."""

    def content() -> Content:
        made = [round(path.stat().st_mtime * 1000) for path in files]
        tags = run_tags(plan, kind, digest(experiment_tags(plan)))
        return Content(
            name=kind, status="FINISHED", times=Times(min(made), max(made)), tags=tags, files=files, about=about
        )

    return RunEntry(key=kind, version=version, fixed=False, content=content)
