"""All runs that MLflow should have of a plan, from the records there are, and the board among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from moebench.board.files import FIGURES
from moebench.mlflow_store.content import Content, Entry, shortened, version_of
from moebench.mlflow_store.fixed_run import fixed_entries, report_entries
from moebench.mlflow_store.labels import experiment_tags
from moebench.mlflow_store.latency_run import latency_entry, timings
from moebench.mlflow_store.study_run import study_entry
from moebench.mlflow_store.training_run import Measured, training_entry
from moebench.plans.latency import finalist, latency_cells
from moebench.plans.plan import Group, Lookup, Plan
from moebench.records import Record, Store
from moebench.records.canonical import digest


def entries(
    plan: Plan, store: Store, lookup: Lookup, board: Path, report: Path | None, *, live: bool = False
) -> Iterator[Entry]:
    """Studies and fixed rows, each before its runs, then latency sessions, then the board in the directory ``board``
    and the page of the report.
    """
    found = [lookup(cell.identity) for cell in latency_cells(plan, lookup)]
    sessions = [record for record in found if record is not None]
    timed = {identity: medians for record in sessions for identity, medians in timings(record).items()}
    measured, waiting = _measured(plan, lookup)
    # A run is written once, with what was measured of it: not before that is there, while it may still come.
    unwritten = waiting if live else set[str]()
    for group in plan.groups:
        runs = list(_runs(group, lookup))
        if runs:
            latency_ms = timed.get(finalist(group, lookup), {})
            study = study_entry(plan, group, runs, lookup, latency_ms, live=live)
            yield study
            for label, record in runs:
                if record.identity not in unwritten:
                    derived = measured.get(record.identity, ())
                    yield training_entry(plan, group, label, record, derived, study.key, store)
    yield from fixed_entries(plan, store, lookup, measured, unwritten)
    for record in sessions:
        yield latency_entry(plan, record)
    page = board_entry(plan, board)
    if page is not None:
        yield page
    yield from report_entries(plan, report)


def _measured(plan: Plan, lookup: Lookup) -> tuple[Measured, set[str]]:
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


NOTE_LENGTH = 5000
"""MLflow before 3.17 takes no longer note."""


def board_entry(plan: Plan, directory: Path) -> Entry | None:
    """The run of the board in a directory; None where there is none, or one of another protocol."""
    files = tuple(path for suffix in ("json", "md", "html", "csv") if (path := directory / f"board.{suffix}").is_file())
    if not _is_of(plan, directory / "board.json"):
        return None
    texts = [path.read_text(encoding="utf-8") for path in files]
    files += tuple(sorted((directory / FIGURES).glob("*.png")))
    return Entry(key="board", version=version_of(texts), fixed=False, content=lambda: _content(plan, files))


def _is_of(plan: Plan, path: Path) -> bool:
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(board, dict) and (board.get("suite"), board.get("protocol")) == (
        plan.suite.name,
        plan.protocol,
    )


def _content(plan: Plan, files: tuple[Path, ...]) -> Content:
    made = [round(path.stat().st_mtime * 1000) for path in files]
    markdown = next((path.read_text(encoding="utf-8") for path in files if path.suffix == ".md"), None)
    return Content(
        name="board",
        status="FINISHED",
        started=min(made),
        ended=max(made),
        tags=experiment_tags(plan) | {"moebench.kind": "board", "moebench.identity": digest(experiment_tags(plan))},
        files=files,
        note=None if markdown is None else shortened(markdown, NOTE_LENGTH),
    )
