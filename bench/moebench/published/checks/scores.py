"""What can be known of a record's numbers from its other numbers."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, isfinite
from pathlib import Path

from moebench.planning.latency import latency_cells
from moebench.published.checks.answers import inputs_of, wrong_shares
from moebench.published.checks.definitions import definitions, presence
from moebench.published.checks.ranges import outside, too_sure
from moebench.published.submission import Submission
from moebench.runs import Record
from moebench.tasks import get_task

CLOSE = 1e-9
ROUNDED = 1e-3
"""Seconds by which a kept time may differ from the one that a speed was made of; and a share, for the speed itself."""

AMOUNTS = {"total": "total_params", "active": "active_params", "flops": "flops_per_input"}


def check(submission: Submission) -> Iterator[str]:
    """Shares outside 0 to 1, sums that do not add up, nulls without a reason, impossible times."""
    for _, record in submission.trained():
        found = (
            *outside(record.scores),
            *_classes(record, submission.data),
            *_nulls(record),
            *_diverged(record),
            *wrong_shares(record, submission.data),
            *definitions(record.scores),
            *_budget(record),
            *_speed(record),
            *_memory(record),
        )
        yield from (f"record {record.identity}: {wrong}" for wrong in found)
    for cell in latency_cells(submission.plan, submission.pack.get):
        session = submission.pack.get(cell.identity)
        if session is not None:
            yield from (f"latency {session.identity}: {wrong}" for wrong in _rounds(session))


def _classes(record: Record, data: Path | None) -> Iterator[str]:
    """What holds of one class for each input: of a sequence, not."""
    if record.status == "done" and get_task(record.cell["task"]).class_target is not None:
        yield from too_sure(record.scores)
        if record.cell["kind"] == "final":
            yield from presence(record, inputs_of(record.cell["task"], data).get("test"))


def _nulls(record: Record) -> Iterator[str]:
    empty = {name for name, value in record.scores.items() if value is None}
    if record.status == "done" and empty != record.reasons.keys():
        names = ", ".join(sorted(empty ^ record.reasons.keys()))
        yield f"null scores and reasons do not go together: {names}."


def _diverged(record: Record) -> Iterator[str]:
    if record.status == "diverged" and (record.scores or not record.reason):
        yield "it diverged, and so has a reason and no scores."


def _budget(record: Record) -> Iterator[str]:
    counts, budget = record.counts, record.cell["budget"]
    amount, error = counts.get(AMOUNTS[record.cell["axis"]]), counts.get("budget_error")
    if amount is None or error is None:
        yield "it does not say how large its layers are."
    elif not isclose(error, amount / budget - 1, abs_tol=CLOSE):
        yield f"budget_error is {error:g}, and {amount:,} of {budget:,} gives {amount / budget - 1:g}."


def _speed(record: Record) -> Iterator[str]:
    seconds, speed = record.details.get("train_seconds"), record.details.get("inputs_per_second")
    if record.status != "done":
        return
    if not seconds or not speed or record.provenance.get("seconds") is None:
        yield "it does not say how long it took, and how fast its training was."
        return
    inputs = record.cell["steps"] * record.cell["batch"]
    if abs(seconds * speed - inputs) > ROUNDED * (speed + inputs):
        yield f"{speed:,.0f} inputs a second in {seconds:g} s are not the {inputs:,} that it was trained on."
    if record.provenance.get("seconds", seconds) < seconds:
        yield "it took less time in all than for its training."


def _memory(record: Record) -> Iterator[str]:
    memory = record.details.get("peak_memory_mib")
    if memory is not None and memory < 0:
        yield f"peak_memory_mib is {memory:g}."


def _rounds(session: Record) -> Iterator[str]:
    finalists, asked = session.details.get("finalists", {}), session.cell["session"]
    if set(finalists) != set(asked["finalists"]):
        yield "it did not measure the runs that it names."
    if session.status != "done" or session.scores:
        yield f"it is {session.status} with {len(session.scores)} scores, and a session is done and has none."
    for identity, measured in finalists.items():
        if measured.get("weights") not in ("initial", "final") or not measured.get("forward_ms"):
            yield f"{identity} was timed with weights '{measured.get('weights')}', or not at all."
        if (memory := measured.get("peak_memory_mib")) is not None and memory < 0:
            yield f"peak_memory_mib of {identity} is {memory:g}."
        for name, times in measured.items():
            if not name.endswith("_ms"):
                continue
            if len(times) != asked["rounds"] or not all(isfinite(time) and time > 0 for time in times):
                yield f"{name} of {identity} is not {asked['rounds']} positive times."
