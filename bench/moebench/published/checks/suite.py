"""The suite against the one of that name: a protocol string that says "1" must mean the suite as it is known."""

from __future__ import annotations

from collections.abc import Iterator

from moebench.errors import MoebenchError
from moebench.planning.label import changed_in
from moebench.planning.request import Request
from moebench.published.submission import Submission
from moebench.suites import Suite, find_suites


def check(submission: Submission) -> Iterator[str]:
    """What differs from the suite that moebench brings under that name; a suite of a person's own has no other."""
    plan = submission.plan
    if plan.suite.name not in find_suites():
        return
    changed = changed_in(plan.protocol)
    try:
        seeds, trials, micro_batch = (changed.get(name) for name in ("seeds", "trials", "micro_batch"))
        request = Request(suite=plan.suite.name, seeds=seeds, trials=trials, micro_batch=micro_batch)
        known, protocol = request.resolved(), request.protocol()
    except MoebenchError as error:
        yield f"the suite cannot be made again here: {error}"
        return
    if protocol != plan.protocol:
        yield f"its protocol is '{plan.protocol}', and these settings of '{plan.suite.name}' make '{protocol}'."
    yield from _differences(plan.suite, known, {row.name for row in plan.rows}, {row.variant for row in plan.rows})


def _differences(own: Suite, known: Suite, rows: set[str], variants: set[str]) -> Iterator[str]:
    """Everything but which of the rows were run, and what was added to them."""
    expected = known.model_copy(
        update={
            "variants": own.variants,
            "reference": [each for each in known.reference if each.name in rows],
            "space": {name: values for name, values in known.space.items() if name in variants},
        }
    )
    for name in Suite.model_fields:
        if getattr(own, name) != getattr(expected, name):
            yield f"'{name}' of the suite '{own.name}' is not what moebench has under that name."
