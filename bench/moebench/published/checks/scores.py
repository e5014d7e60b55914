"""What can be known of a record's numbers from its other numbers."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, isfinite

from moebench.planning.latency import latency_cells
from moebench.published.checks.answers import wrong_shares
from moebench.published.checks.definitions import definitions
from moebench.published.submission import Submission
from moebench.runs import Record

CLOSE = 1e-9
ROUNDED = 1e-3
"""Seconds by which a kept time may differ from the one that a speed was made of; and a share, for the speed itself."""

AMOUNTS = {"total": "total_params", "active": "active_params", "flops": "flops_per_input"}


def check(submission: Submission) -> Iterator[str]:
    """Shares outside 0 to 1, sums that do not add up, nulls without a reason, impossible times."""
    for _, record in submission.trained():
        found = (
            *_ranges(record),
            *_nulls(record),
            *_diverged(record),
            *wrong_shares(record, submission.data),
            *definitions(record.scores),
            *_budget(record),
            *_speed(record),
        )
        yield from (f"record {record.identity}: {wrong}" for wrong in found)
    for cell in latency_cells(submission.plan, submission.pack.get):
        session = submission.pack.get(cell.identity)
        if session is not None:
            yield from (f"latency {session.identity}: {wrong}" for wrong in _rounds(session))


def _ranges(record: Record) -> Iterator[str]:
    for name, value in record.scores.items():
        if value is None:
            continue
        if not isfinite(value):
            yield f"{name} is {value}."
        elif "accuracy" in name and not 0 <= value <= 1:
            yield f"{name} is {value:g}, and an accuracy lies between 0 and 1."
        elif "loss" in name and value < 0:
            yield f"{name} is {value:g}, and a loss is not negative."


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
    if record.status != "done" or seconds is None or speed is None:
        return
    inputs = record.cell["steps"] * record.cell["batch"]
    if abs(seconds * speed - inputs) > ROUNDED * (speed + inputs):
        yield f"{speed:,.0f} inputs a second in {seconds:g} s are not the {inputs:,} that it was trained on."
    if record.provenance.get("seconds", seconds) < seconds:
        yield "it took less time in all than for its training."


def _rounds(session: Record) -> Iterator[str]:
    finalists, asked = session.details.get("finalists", {}), session.cell["session"]
    if set(finalists) != set(asked["finalists"]):
        yield "it did not measure the runs that it names."
    for identity, measured in finalists.items():
        for name, times in measured.items():
            if not name.endswith("_ms"):
                continue
            if len(times) != asked["rounds"] or not all(isfinite(time) and time > 0 for time in times):
                yield f"{name} of {identity} is not {asked['rounds']} positive times."
