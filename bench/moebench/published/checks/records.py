"""The records against the plan: all there, none too many, each from the row, suite and device it is counted for."""

from __future__ import annotations

from collections.abc import Iterator

from moebench import machine
from moebench.planning.latency import latency_cells
from moebench.protocol import PROTOCOL
from moebench.published.selection import expected
from moebench.published.submission import Submission
from moebench.runs import Record


def check(submission: Submission) -> Iterator[str]:
    """Missing and superfluous runs, runs without a result, another protocol, another row or device."""
    planned = expected(submission.plan, submission.pack.get)
    records = submission.pack.records
    yield from (f"the run {identity} of the plan is missing." for identity in planned if identity not in records)
    yield from (f"the run {identity} is not one of the plan's." for identity in sorted(records.keys() - set(planned)))
    for record in records.values():
        yield from _result(record)
    yield from _rows(submission)
    yield from _devices(submission)
    yield from _where(submission)


def _result(record: Record) -> Iterator[str]:
    if not record.settled:
        yield f"record {record.identity} has no result: {record.status}."
    if record.status == "done" and record.reason:
        yield f"record {record.identity} is done, and gives a reason why not: {record.reason[:100]}."
    if record.cell["protocol"] != PROTOCOL:
        yield f"record {record.identity} is of protocol {record.cell['protocol']}; this moebench has {PROTOCOL}."


def _rows(submission: Submission) -> Iterator[str]:
    """Whose run it is says the record, too; two rows may share theirs."""
    rows: dict[str, set[str]] = {}
    for group in submission.plan.groups:
        for cell in (*group.trial_cells, *group.final_cells(submission.pack.get)):
            rows.setdefault(cell.identity, set()).add(group.row)
    for identity, names in rows.items():
        record = submission.pack.get(identity)
        if record is not None and record.provenance.get("row") not in names:
            told = record.provenance.get("row")
            yield f"record {identity} says that it is of '{told}', and is counted for {', '.join(sorted(names))}."


def _where(submission: Submission) -> Iterator[str]:
    """Which device and software made a run, and that it had the precision that the suite means on that device."""
    from moebench.training.device import default_precision

    auto = submission.plan.suite.training.precision == "auto"
    for record in submission.pack.records.values():
        about, versions = record.provenance, record.provenance.get("versions") or {}
        kind = about.get("device_type")
        if not about.get("device") or kind not in ("cpu", "cuda") or versions.keys() != machine.versions().keys():
            yield f"record {record.identity} does not say on which device, and with which software, it was made."
        elif auto and record.cell["kind"] != "latency" and record.cell["precision"] != default_precision(kind):
            yield f"record {record.identity} is in {record.cell['precision']}, and the suite means another on {kind}."


def _devices(submission: Submission) -> Iterator[str]:
    device = submission.plan.device["name"]
    for cell in latency_cells(submission.plan, submission.pack.get):
        record = submission.pack.get(cell.identity)
        if record is not None and record.provenance.get("device") != device:
            yield f"latency {cell.identity} was measured on {record.provenance.get('device')}, not on {device}."
