"""What a reader should see before trusting a row's numbers."""

from __future__ import annotations

from collections.abc import Sequence

from moebench.board.evidence import Evidence
from moebench.board.latency import Clock
from moebench.board.model import TaskResult
from moebench.planning.plan import Plan


def flags(plan: Plan, evidence: Evidence, results: Sequence[TaskResult], clock: Clock) -> tuple[str, ...]:
    """One sentence without a full stop for each thing that is unusual about the row."""
    several = len(results) > 1
    found = []
    for study, result in zip(evidence.studies, results, strict=True):
        where = f"{result.name}: " if several else ""
        for index, run in enumerate(study.finals):
            if run.status == "diverged":
                found.append(f"{where}seed {index} diverged and counts as the floor {study.headline.floor:g}")
        if result.tuning:
            found += [where + edge for edge in result.tuning.edges]
        devices = {record.provenance.get("device") for record in study.final_records}
        if elsewhere := sorted(map(str, devices - {plan.device["name"], None})):
            found.append(f"{where}trained on {', '.join(elsewhere)}")
    for task, early, late in clock.drifts(evidence.row.name):
        where = f"{task}: " if several else ""
        change = f"from {early:.2f}x to {late:.2f}x dense over the rounds of its session"
        found.append(f"{where}its latency went {change}, so that the interval of it is too narrow")
    if clock.untrained(evidence.row.name):
        found.append("timed with untrained weights, for none were kept")
    return tuple(found)
