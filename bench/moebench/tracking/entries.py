"""All runs that MLflow should have of a plan, from the records there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moebench.planning.latency import finalist, latency_cells
from moebench.planning.plan import Group, Lookup, Plan
from moebench.runs import Record, Store
from moebench.tracking.board_run import board_entry
from moebench.tracking.content import Entry
from moebench.tracking.latency_run import latency_entry, timings
from moebench.tracking.study_run import study_entry
from moebench.tracking.training_run import training_entry


def entries(plan: Plan, store: Store, lookup: Lookup, board: Path, *, live: bool = False) -> Iterator[Entry]:
    """Studies, each before its runs, then latency sessions, then the board in the directory ``board``."""
    found = [lookup(cell.identity) for cell in latency_cells(plan, lookup)]
    sessions = [record for record in found if record is not None]
    measured = {identity: medians for record in sessions for identity, medians in timings(record).items()}
    for group in plan.groups:
        runs = list(_runs(group, lookup))
        if runs:
            latency_ms = measured.get(finalist(group, lookup), {})
            study = study_entry(plan, group, runs, lookup, latency_ms, live=live)
            yield study
            for label, record in runs:
                yield training_entry(plan, group, label, record, study.key, store)
    for record in sessions:
        yield latency_entry(plan, record)
    page = board_entry(plan, board)
    if page is not None:
        yield page


def _runs(group: Group, lookup: Lookup) -> Iterator[tuple[str, Record]]:
    """Label and record of every run of a group that has one."""
    for label, cells in (("trial", group.trial_cells), ("seed", group.final_cells(lookup))):
        for index, cell in enumerate(cells):
            record = lookup(cell.identity)
            if record is not None:
                yield f"{label} {index}", record
