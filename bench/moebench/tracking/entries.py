"""All runs that MLflow should have of a plan, from the records there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moebench.planning.latency import finalist, latency_cells
from moebench.planning.plan import Group, Lookup, Plan
from moebench.runs import Record, Store
from moebench.tracking.board_run import board_entry
from moebench.tracking.content import Entry
from moebench.tracking.fixed_run import fixed_entries, report_entries
from moebench.tracking.latency_run import latency_entry, timings
from moebench.tracking.study_run import study_entry
from moebench.tracking.training_run import Measured, training_entry


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
