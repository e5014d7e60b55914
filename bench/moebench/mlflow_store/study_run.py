"""A study - a row on a task at a budget - as the run above its trials and final runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from moebench.mlflow_store.content import Content, Entry, RunStatus, finite, shortened, version_of
from moebench.mlflow_store.labels import (
    REASON_LENGTH,
    data_of,
    setting_params,
    study_name,
    study_params,
    study_tags,
    times,
)
from moebench.mlflow_store.training_run import run_numbers
from moebench.plans.plan import Group, Lookup, Plan
from moebench.records import Record
from moebench.records.canonical import digest
from moebench.tasks import get_task


def study_entry(
    plan: Plan,
    group: Group,
    runs: Sequence[tuple[str, Record]],
    lookup: Lookup,
    latency_ms: dict[str, float],
    *,
    live: bool,
) -> Entry:
    """The run above ``runs`` (label, record). latency_ms: of its finalist. live: the suite is running now."""
    identity = study_identity(group)
    content = _content(plan, group, identity, runs, lookup, latency_ms, live=live)
    return Entry(
        key=f"{group.row}/{identity}",
        # Without the times: a study is not written again for every trial that ends.
        version=version_of([content.status, dict(content.tags), dict(content.params), dict(content.metrics)]),
        fixed=False,
        content=lambda: content,
    )


def study_identity(group: Group) -> str:
    """The digest of what makes a study what it is; edited code or another search space is another study."""
    return digest([group.row, group.budget, group.template, group.space, group.shared, group.final_seeds])


def _content(
    plan: Plan,
    group: Group,
    identity: str,
    runs: Sequence[tuple[str, Record]],
    lookup: Lookup,
    latency_ms: dict[str, float],
    *,
    live: bool,
) -> Content:
    params = study_params(group.row, group.template)
    params |= {"trials": str(len(group.shared)), "seeds": str(len(group.final_seeds))}
    metrics: dict[str, float | None] = {**latency_ms}
    winner = group.winner(lookup)
    if winner is not None:
        params |= {"winner": f"trial {winner}"} | setting_params(group.trials[winner], params)
    finals = group.finals(lookup)
    if finals:
        metrics |= mean_scores(group.task, finals)
    status, reason = _status(runs, finals is not None, live=live)
    started, ended = zip(*(times(record) for _, record in runs), strict=True)
    tags = study_tags(plan, group, "study", identity)
    return Content(
        name=study_name(plan, group),
        status=status,
        started=min(started),
        ended=max(ended),
        tags=tags | {"moebench.status": status.lower(), "moebench.reason": shortened(reason, REASON_LENGTH)},
        data=data_of(group.template),
        params=params,
        metrics=finite(metrics),
    )


def mean_scores(task: str, finals: Sequence[Record]) -> dict[str, float | None]:
    """Means over the final seeds of what all of them have, and the counts, which are the same for all.

    A diverged seed counts with the floor of the task's headline, as on the board; it has no other scores.
    """
    headline = get_task(task).info.ranked_by
    floors = {f"{part}_{headline.name}": headline.floor for part in ("validation", "test")}
    scores = [{**record.scores} if record.status == "done" else floors for record in finals]
    names = [name for name in scores[0] if all(each.get(name) is not None for each in scores)]
    means = {name: statistics.fmean(each[name] or 0.0 for each in scores) for name in names}
    done = [record for record in finals if record.status == "done"]
    return {**(run_numbers_of_model(done[0]) if done else {}), **means, "finals_done": float(len(done))}


def run_numbers_of_model(record: Record) -> dict[str, float | None]:
    """The counts of a run: parameters and FLOPs, the same for every seed."""
    return {name: value for name, value in run_numbers(record).items() if name in record.counts}


def _status(runs: Sequence[tuple[str, Record]], complete: bool, *, live: bool) -> tuple[RunStatus, str]:
    """FAILED if a run waits to be tried again, KILLED if the suite stopped before the study was complete."""
    failed = [f"{label}: {record.status}: {record.reason}" for label, record in runs if not record.settled]
    if failed:
        return "FAILED", "\n".join(failed)
    if complete:
        return "FINISHED", ""
    return ("RUNNING", "") if live else ("KILLED", "some of its runs are still to be done")
