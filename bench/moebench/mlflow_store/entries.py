"""All runs that MLflow should have of a plan, from the records there are, and its board and report among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from moebench.board.files import FIGURES
from moebench.mlflow_store.content import Content, Entry, Times, shortened, version_of
from moebench.mlflow_store.labels import experiment_tags, run_tags
from moebench.mlflow_store.latency_run import latency_entry, timings
from moebench.mlflow_store.runs import Measured, row_entry, seed_entry, study_entry, trained_entry
from moebench.plans.latency import finalist, latency_cells
from moebench.plans.plan import Group, Lookup, Plan
from moebench.records import Record, Store
from moebench.records.canonical import digest

NOTE_LENGTH = 5000
"""MLflow before 3.17 takes no longer note."""


def entries(
    plan: Plan, store: Store, lookup: Lookup, board: Path, report: Path | None, *, live: bool = False
) -> Iterator[Entry]:
    """Studies and fixed rows, each before its runs, then latency sessions, the board in the directory ``board``, and
    the page of the report.
    """
    found = [lookup(cell.identity) for cell in latency_cells(plan, lookup)]
    sessions = [record for record in found if record is not None]
    timed = {identity: medians for record in sessions for identity, medians in timings(record).items()}
    measured, waiting = _measured(plan, lookup)
    # A run is written once, with what was measured of it: not before that is there, while it may still come.
    unwritten = waiting if live else set[str]()

    def records_of(record: Record) -> Measured:
        return (record, *measured.get(record.identity, ()))

    for group in plan.groups:
        runs = list(_runs(group, lookup))
        if runs:
            latency_ms = timed.get(finalist(group, lookup), {})
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
    for session in sessions:
        yield latency_entry(plan, session)
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


def _is_of(plan: Plan, path: Path) -> bool:
    """Whether there is a board, and it is of this suite and protocol."""
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
        return bool((board["suite"], board["protocol"]) == (plan.suite.name, plan.protocol))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _board_entry(plan: Plan, directory: Path) -> Entry:
    files = tuple(path for suffix in ("json", "md", "html", "csv") if (path := directory / f"board.{suffix}").is_file())
    texts = {path.suffix: path.read_text(encoding="utf-8") for path in files}
    note = shortened(texts[".md"], NOTE_LENGTH) if ".md" in texts else None
    figures = sorted((directory / FIGURES).glob("*.png"))
    return _pages(plan, "board", version_of(list(texts.values())), (*files, *figures), note)


def _pages(plan: Plan, kind: str, version: str, files: tuple[Path, ...], note: str | None = None) -> Entry:
    """A run whose artifacts are pages and their figures."""

    def content() -> Content:
        made = [round(path.stat().st_mtime * 1000) for path in files]
        tags = run_tags(plan, kind, digest(experiment_tags(plan)))
        return Content(
            name=kind, status="FINISHED", times=Times(min(made), max(made)), tags=tags, files=files, note=note
        )

    return Entry(key=kind, version=version, fixed=False, content=content)
