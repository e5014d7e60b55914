"""The plan of a submission against what this moebench makes of the same suite, and its counts against built models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moebench.errors import MoebenchError
from moebench.plans.ask import SHARED
from moebench.plans.generations import grown
from moebench.plans.plan import Group, Plan
from moebench.plans.rows import Row
from moebench.protocol import changed_in, label, protocol_of
from moebench.publish.sources import Submission
from moebench.records import Cell, Record
from moebench.records.canonical import canonical_json
from moebench.runner.job import Job
from moebench.suites import Suite, find_suites, load_suite
from moebench.suites.request import changeable, request_for

Counts = dict[str, Any]


def suite(submission: Submission) -> Iterator[str]:
    """What differs from the suite that moebench brings under that name, and a protocol that is not said as its
    settings are; a suite of a person's own has no other.
    """
    plan = submission.plan
    changed, now = changed_in(plan.protocol), changeable(plan.suite)
    if label(protocol_of(plan.protocol), changed) != plan.protocol or not changed.items() <= now.items():
        yield f"its protocol is '{plan.protocol}', which is not how its suite's settings are said."
    if plan.suite.name not in find_suites():
        return
    try:
        seeds, trials, micro_batch = (changed.get(name) for name in ("seeds", "trials", "micro_batch"))
        definition = load_suite(plan.suite.name)
        request = request_for(definition, seeds=seeds, trials=trials, micro_batch=micro_batch)
        known, protocol = request.suite, request.protocol
    except MoebenchError as error:
        yield f"the suite cannot be made again here: {error}"
        return
    if protocol != plan.protocol:
        yield f"its protocol is '{plan.protocol}', and these settings of '{plan.suite.name}' make '{protocol}'."
    # Everything but which of the rows were run, and what was added to them.
    rows, variants = {row.name for row in plan.rows}, {row.variant for row in plan.rows}
    same_rows = {
        "variants": plan.suite.variants,
        "reference": [each for each in known.reference if each.name in rows],
        "space": {name: values for name, values in known.space.items() if name in variants},
    }
    ours = known.model_copy(update=same_rows)
    for name in Suite.model_fields:
        if getattr(plan.suite, name) != getattr(ours, name):
            yield f"'{name}' of the suite '{plan.suite.name}' is not what moebench has under that name."


def plan(submission: Submission) -> Iterator[str]:
    """Differences in rows and studies from the plan that is made here; that nothing can be compared, where data or
    variants are missing here.
    """
    try:
        here = _made_here(submission)
    except MoebenchError as error:
        yield f"the plan cannot be made again here: {error}"
        return
    theirs, ours = submission.plan, {row.name: row for row in here.rows}
    alike = set()
    for row in theirs.rows:
        if wrong := _row(row, ours.get(row.name)):
            yield wrong
        else:
            alike.add(row.name)
    studies = {(group.row, group.task, group.budget): group for group in here.groups}
    for group in theirs.groups:
        if group.row in alike:
            yield from _study(group, studies.get((group.row, group.task, group.budget)))
    if {(g.row, g.task, g.budget) for g in theirs.groups} != studies.keys() or len(theirs.groups) != len(studies):
        yield f"it has {len(theirs.groups)} studies, and its rows, tasks and budgets make {len(studies)}."
    if (here.protocol, here.suite.name) != (protocol_of(theirs.protocol), theirs.suite.name):
        yield f"it is of protocol '{theirs.protocol}'; this moebench has '{here.protocol}'."


def _made_here(submission: Submission) -> Plan:
    """The plan of the same suite on this machine, at the precision that the submission's kind of device means."""
    from moebench.plans.make import make_plan
    from moebench.training.device import default_precision

    theirs = submission.plan
    training = theirs.suite.training
    if training.precision == "auto":
        training = training.model_copy(update={"precision": default_precision(theirs.device["type"])})
    specs = {row.name: submission.spec(row.name) for row in theirs.rows}
    changes = {
        "training": training,
        "variants": [specs[row.name] for row in theirs.rows if not row.reference],
        "reference": [
            each.model_copy(update={"variant": specs.get(each.name, each.variant)}) for each in theirs.suite.reference
        ],
    }
    made = theirs.suite.model_copy(update=changes)
    request = request_for(made, device="cpu", data=submission.data)
    return grown(make_plan(request), submission.pack.get)


def _row(row: Row, own: Row | None) -> str:
    """What is wrong with a row, compared with the one of that name here."""
    if own is None or own.problem:
        return f"'{row.name}' cannot be planned here: {own.problem if own else 'the suite has no such row.'}"
    if own.code_digest != row.code_digest:
        return (
            f"'{row.name}' was made with code {row.code_digest}, and here its code is {own.code_digest}; install the "
            "version that the submission names."
        )
    return "" if dataclasses.replace(own, spec=row.spec) == row else f"'{row.name}' is another kind of row here."


def _study(group: Group, own: Group | None) -> Iterator[str]:
    where = f"{group.row} on {group.task} at {group.budget:,}"
    if own is None:
        yield f"{where}: there is no such study here."
        return
    told, here = dataclasses.asdict(group), dataclasses.asdict(own)
    for name in told:
        if _plain(told[name]) != _plain(here[name]):
            yield f"{where}: {name.replace('_', ' ')} is not what is planned here."


def _plain(value: object) -> object:
    """Tuples as lists, for JSON knows no tuples."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def counts(submission: Submission) -> Iterator[str]:
    """Each size of each variant is built once; every record that claims it must have its counts."""
    built: dict[str, Counts | str] = {}
    for group, record in submission.trained():
        key = _built_alike(record)
        if key not in built:
            built[key] = _counted(submission, group.row, record)
        counted = built[key]
        if isinstance(counted, str):
            yield f"record {record.identity}: {counted}"
        elif counted != record.counts:
            name = min(n for n in counted | record.counts if counted.get(n) != record.counts.get(n))
            told, found = record.counts.get(name), counted.get(name)
            yield f"record {record.identity}: {name} is {told}, and the model that is built here has {found}."


def _built_alike(record: Record) -> str:
    cell = record.cell
    own = {name: value for name, value in cell["settings"].items() if name not in SHARED}
    return canonical_json([cell["variant"], cell["task"], cell["host"], cell["axis"], cell["budget"], own])


def _counted(submission: Submission, row: str, record: Record) -> Counts | str:
    """The counts, or why they cannot be made."""
    import torch

    from moebench.runner.model import build

    job = Job(
        cell=Cell.from_json(record.cell),
        row=row,
        spec=submission.spec(row),
        label=row,
        suite=submission.plan.suite.name,
        results=Path(),
        data=submission.data,
        device="cpu",
        backend=None,
        save_weights=False,
    )
    try:
        counts: Counts = json.loads(json.dumps(build(job, torch.device("cpu")).counts))
    except MoebenchError as error:
        return str(error)
    except Exception as error:  # a plug-in's own
        return f"'{row}' cannot be built: {type(error).__name__}: {error}"
    return counts
