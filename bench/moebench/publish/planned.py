"""The plan of a submission against what this moebench makes of the same suite, and its counts against built models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from moebench.errors import DataError, MoebenchError
from moebench.plans.generations import grown
from moebench.plans.make import make_plan
from moebench.plans.plan import SHARED, Group, Plan
from moebench.plans.rows import Row
from moebench.protocol import changed_in, label, protocol_of
from moebench.publish.sources import Submission
from moebench.records import Record
from moebench.records.canonical import canonical_json
from moebench.runner.model import build
from moebench.suites import Suite, find_suites, load_suite
from moebench.suites.request import changeable, request_for
from moebench.text import told
from moebench.training.device import default_precision


def suite(submission: Submission) -> Iterator[str]:
    """What differs from the suite that moebench brings under that name, and a protocol that does not name the settings.

    A suite of a person's own is compared with no other.
    """
    plan = submission.plan
    changed: dict[str, Any] = changed_in(plan.protocol)
    known = label(protocol_of(plan.protocol), changed) == plan.protocol
    if not known or not changed.items() <= changeable(plan.suite).items():
        yield f"its protocol is '{plan.protocol}', which is not the label of its suite's settings."
    if plan.suite.name not in find_suites():
        return
    try:
        request = request_for(load_suite(plan.suite.name), **changed)
    except MoebenchError as error:
        yield f"the suite cannot be made again here: {error}"
        return
    if request.protocol != plan.protocol:
        yield f"its protocol is '{plan.protocol}', and these settings of '{plan.suite.name}' make '{request.protocol}'."
    # Everything but which of the rows were run, and what was added to them.
    rows = {row.name for row in plan.rows}
    spaced = rows | {row.variant for row in plan.rows}
    same_rows = {
        "variants": plan.suite.variants,
        "ranked": [each for each in request.suite.ranked if each.name in rows],
        "reference": [each for each in request.suite.reference if each.name in rows],
        "ladder": plan.suite.ladder and request.suite.ladder,
        "space": {name: values for name, values in request.suite.space.items() if name in spaced},
    }
    ours = request.suite.model_copy(update=same_rows)
    for name in Suite.model_fields:
        if getattr(plan.suite, name) != getattr(ours, name):
            yield f"'{name}' of the suite '{plan.suite.name}' is not what moebench has under that name."


def plan(submission: Submission) -> Iterator[str]:
    """Differences in rows and studies from the plan that is made here."""
    try:
        here = _made_here(submission)
    except DataError:  # no word about the submission
        raise
    except MoebenchError as error:
        yield f"the plan cannot be made again here: {error}"
        return
    theirs, ours = submission.plan, {row.name: row for row in here.rows}
    wrong = {row.name: _row(row, ours.get(row.name)) for row in theirs.rows}
    yield from filter(None, wrong.values())
    studies, published = _studies(here), _studies(theirs)
    for place, study in published.items():
        if place in studies and not wrong[place[0]]:
            yield from _study(study, studies[place])
    if published.keys() != studies.keys() or len(theirs.groups) != len(studies):
        yield f"it has {len(theirs.groups)} studies, and its rows, tasks and budgets make {len(studies)}."
    if here.protocol != protocol_of(theirs.protocol):
        yield f"it is of protocol '{theirs.protocol}'; this moebench has '{here.protocol}'."


def _made_here(submission: Submission) -> Plan:
    """The plan of the same suite on this machine, at the precision that the submission's kind of device means."""
    theirs = submission.plan
    training = theirs.suite.training
    if training.precision == "auto":
        training = training.model_copy(update={"precision": default_precision(theirs.device["type"])})
    specs = {row.name: submission.spec(row.name) for row in theirs.rows}
    made = theirs.suite.with_specs(specs).model_copy(update={"training": training})
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


def _studies(plan: Plan) -> dict[tuple[str, str, int], Group]:
    return {(group.row, group.task, group.budget): group for group in plan.groups}


def _study(group: Group, own: Group) -> Iterator[str]:
    study = f"{group.row} on {group.task} at {group.budget:,}"
    published, here = (json.loads(json.dumps(dataclasses.asdict(each))) for each in (group, own))
    for name in published:
        # Times are guessed from the tokens of a layer; plans of earlier versions had none.
        if name != "tokens" and published[name] != here[name]:
            yield f"{study}: {name.replace('_', ' ')} is not what is planned here."


def counts(submission: Submission) -> Iterator[str]:
    """Each size of each variant is built once; every record that claims it must have its counts."""
    yield from filter(None, counting(submission))


def counting(submission: Submission) -> Iterator[str | None]:
    """The same, and None before each size that is built: it goes on."""
    built: dict[str, tuple[dict[str, Any], tuple[int, int]] | str] = {}
    for group, record in submission.trained():
        key = _built_alike(record)
        if key not in built:
            yield None
            built[key] = _counted(submission, group.row, record)
        counted = built[key]
        if isinstance(counted, str):
            yield f"record {record.identity}: {counted}"
            continue
        counts, (low, high) = counted
        happened = record.counts.get("training_flops")
        if low < high and isinstance(happened, int) and low <= happened <= high:
            counts = counts | {"training_flops": happened}  # its tokens chose how many experts act
        if counts != record.counts:
            name = min(n for n in counts | record.counts if counts.get(n) != record.counts.get(n))
            yield (
                f"record {record.identity}: {name} is {record.counts.get(name)}, and the model that is built here has "
                f"{counts.get(name)}."
            )


def _built_alike(record: Record) -> str:
    cell = record.cell
    own = {name: value for name, value in cell["settings"].items() if name not in SHARED}
    return canonical_json(
        [cell["variant"], cell["task"], cell["host"], cell["axis"], cell["budget"], cell["steps"], own]
    )


def _counted(submission: Submission, row: str, record: Record) -> tuple[dict[str, Any], tuple[int, int]] | str:
    """The counts, with the least and the most FLOPs of training; or why they cannot be made."""
    job = dataclasses.replace(submission.job(record.identity, Path(), "cpu"), backend=None)
    try:
        model = build(job, torch.device("cpu"))
        counts: dict[str, Any] = json.loads(json.dumps(model.counts))
    except DataError:
        raise
    except MoebenchError as error:
        return str(error)
    except Exception as error:  # a plug-in's own
        return f"'{row}' cannot be built: {told(error)}"
    return counts, model.training_flops_between(job.cell.batch * job.cell.steps)
