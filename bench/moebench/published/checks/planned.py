"""The plan against the one that is made here of the same suite: code, settings, seeds, data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from moebench.errors import MoebenchError
from moebench.planning.generations import grown
from moebench.planning.label import protocol_of
from moebench.planning.plan import Group, Plan
from moebench.planning.request import Request
from moebench.planning.rows import Row
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.published.submission import Submission

STUDY = ("template", "amount", "shared", "space", "final_seeds", "trial_seeds", "trials", "problem", "unfit")


def check(submission: Submission) -> Iterator[str]:
    """Differences in rows and studies; that nothing can be compared, where data or variants are missing here."""
    try:
        here = _made_here(submission)
    except MoebenchError as error:
        yield f"the plan cannot be made again here: {error}"
        return
    plan, ours = submission.plan, {row.name: row for row in here.rows}
    alike = set()
    for row in plan.rows:
        if wrong := _row(row, ours.get(row.name)):
            yield wrong
        else:
            alike.add(row.name)
            yield from _experts(submission, row)
    studies = {(group.row, group.task, group.budget): group for group in here.groups}
    for group in plan.groups:
        if group.row in alike:
            yield from _study(group, studies.get((group.row, group.task, group.budget)))
    if {(g.row, g.task, g.budget) for g in plan.groups} != studies.keys() or len(plan.groups) != len(studies):
        yield f"it has {len(plan.groups)} studies, and its rows, tasks and budgets make {len(studies)}."
    if (here.protocol, here.suite.name) != (protocol_of(plan.protocol), plan.suite.name):
        yield f"it is of protocol '{plan.protocol}'; this moebench has '{here.protocol}'."


def _made_here(submission: Submission) -> Plan:
    """The plan of the same suite on this machine, at the precision of the submission, for its device may be another."""
    from moebench.planning.make import make_plan

    plan = submission.plan
    training = plan.suite.training
    if training.precision == "auto" and plan.groups:
        training = training.model_copy(update={"precision": plan.groups[0].template["precision"]})
    specs = {row.name: submission.spec(row.name) for row in plan.rows}
    changes = {
        "training": training,
        "variants": [specs[row.name] for row in plan.rows if not row.reference],
        "reference": [
            each.model_copy(update={"variant": specs.get(each.name, each.variant)}) for each in plan.suite.reference
        ],
    }
    suite = plan.suite.model_copy(update=changes)
    request = Request(suite=suite.name, suite_definition=suite, device="cpu", data=submission.data)
    return grown(make_plan(request), submission.pack.get)


def _experts(submission: Submission, row: Row) -> Iterator[str]:
    """A layer that routes nothing has no specialization."""
    variant = load_variant(find_variant(submission.spec(row.name)))
    finals = [cell for g in submission.plan.groups_of(row.name) for cell in g.final_cells(submission.pack.get)]
    records = filter(None, (submission.pack.get(cell.identity) for cell in finals))
    if variant.traits.mass == "none" and any("accuracy_all_experts" in record.scores for record in records):
        yield f"'{row.name}' has scores of its experts, and its variant routes nothing."


def _row(row: Row, own: Row | None) -> str:
    """What is wrong with a row, compared with the one of that name here."""
    if own is None or own.problem:
        return f"'{row.name}' cannot be planned here: {own.problem if own else 'the suite has no such row.'}"
    if own.code_digest != row.code_digest:
        return (
            f"'{row.name}' was made with code {row.code_digest}, and here its code is {own.code_digest}; install the "
            "version that the submission names."
        )
    kinds = [(each.variant, each.reference, each.active_of, each.note) for each in (own, row)]
    return "" if kinds[0] == kinds[1] else f"'{row.name}' is another kind of row here."


def _study(group: Group, own: Group | None) -> Iterator[str]:
    where = f"{group.row} on {group.task} at {group.budget:,}"
    if own is None:
        yield f"{where}: there is no such study here."
        return
    told, here = dataclasses.asdict(group), dataclasses.asdict(own)
    for name in STUDY:
        if _plain(told[name]) != _plain(here[name]):
            yield f"{where}: {name.replace('_', ' ')} is not what is planned here."


def _plain(value: object) -> object:
    """Tuples as lists, for JSON knows no tuples."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
