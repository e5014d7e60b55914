"""Training runs in MLflow, and what is above them: a study (a row on a task at a budget) or a row of fixed settings."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from moebench.frames import short_traceback
from moebench.mlflow_store.content import Content, Data, RunEntry, RunStatus, finite, shortened, version_of
from moebench.mlflow_store.curves import curve_points
from moebench.mlflow_store.labels import (
    REASON_LENGTH,
    data_of,
    provenance_params,
    run_tags,
    status_tags,
    study_name,
    study_params,
    study_tags,
    times,
    with_settings,
)
from moebench.plans.plan import Group, Lookup, Plan, score_of
from moebench.records import Record, Store
from moebench.records.canonical import digest
from moebench.tasks import Headline

Measured = Sequence[Record]
"""The record of a run, and after it those of the measures of its trained model."""


def trained_entry(plan: Plan, group: Group, label: str, records: Measured, parent: str, store: Store) -> RunEntry:
    """A trial or a final run of a study. label: "trial 2" or "seed 0"; parent: the key of the study."""
    run = records[0]
    tags = study_tags(plan, group, run.cell["kind"], run.identity)
    version = version_of([label, *_dumped(records)])
    name = f"{study_name(plan, group)} {label}"
    return _entry(name, group.row, version, parent, tags, records, store, data_of(run.cell))


def seed_entry(plan: Plan, row: str, index: int, records: Measured, parent: str, store: Store) -> RunEntry:
    """A seed of a row of fixed settings; where the row is not trained, the measure of its initial weights."""
    run = records[0]
    tags = run_tags(plan, run.cell["kind"], run.identity, row=row)
    version = version_of([index, _dumped(records)])
    return _entry(f"{row} seed {index}", row, version, parent, tags, records, store)


def _entry(
    name: str,
    row: str,
    version: str,
    parent: str,
    tags: Mapping[str, str],
    records: Measured,
    store: Store,
    data: Data | None = None,
) -> RunEntry:
    run, *derived = records

    def content() -> Content:
        params = study_params(row, run.cell) | {"seed": str(run.cell["seed"])} | provenance_params(run)
        texts = {f"{each.cell['session']['measure']}.json": _text(each) for each in derived}
        return Content(
            name=name,
            status="FINISHED" if run.settled else "FAILED",
            times=times(run),
            tags={**tags, **status_tags(run)},
            params=with_settings(params, run.cell["settings"]),
            metrics=_metrics(records),
            curves=curve_points(run, store, times(run)),
            data=data,
            texts={"record.json": _text(run), **texts, **_traceback(run)},
        )

    return RunEntry(key=f"{row}/{run.identity}", version=version, parent=parent, content=content)


def _traceback(run: Record) -> dict[str, str]:
    """The author's lines that the error of a run came from, as a text of its own."""
    lines = short_traceback(run.details.get("frames", ()))
    return {"traceback.txt": "\n".join([*lines, run.reason, ""])} if lines else {}


def study_entry(
    plan: Plan,
    group: Group,
    runs: Sequence[tuple[str, Record]],
    lookup: Lookup,
    latency_ms: Mapping[str, float],
    *,
    live: bool,
) -> RunEntry:
    """The run above ``runs`` (label, record). latency_ms: of its finalist. live: the suite is running now."""
    # Edited code or another search space is another study.
    identity = digest([group.row, group.budget, group.template, group.space, group.shared, group.final_seeds])
    params = study_params(group.row, group.template)
    params |= {"trials": str(len(group.shared)), "seeds": str(len(group.final_seeds))}
    winner = group.winner(lookup)
    if winner is not None:
        params = with_settings(params | {"winner": f"trial {winner}"}, group.trials[winner])
    finals = group.finals(lookup)
    status, reason = _status(runs, finals is not None, live=live)
    tags = {"moebench.status": status.lower(), "moebench.reason": shortened(reason, REASON_LENGTH)}
    return _changing(
        group.row,
        identity,
        Content(
            name=study_name(plan, group),
            status=status,
            times=times(*(record for _, record in runs)),
            tags=study_tags(plan, group, "study", identity) | tags,
            data=data_of(group.template),
            params=params,
            metrics=finite({**latency_ms, **(mean_scores(group.headline, finals) if finals else {})}),
        ),
    )


def row_entry(plan: Plan, row: str, runs: Sequence[Measured]) -> RunEntry:
    """The run above the seeds of a row of fixed settings, with the means of the metrics that all of them have."""
    records = [run[0] for run in runs]
    metrics = [_metrics(run) for run in runs]
    shared = set.intersection(*(set(each) for each in metrics))
    cell = records[0].cell
    identity = digest([plan.suite.name, row, {**cell, "seed": 0}])
    return _changing(
        row,
        identity,
        Content(
            name=row,
            status="FINISHED" if all(record.settled for record in records) else "FAILED",
            times=times(*records),
            tags=run_tags(plan, "row", identity, row=row),
            params=with_settings(study_params(row, cell) | {"seeds": str(len(records))}, cell["settings"]),
            metrics={name: statistics.fmean(each[name] for each in metrics) for name in sorted(shared)},
        ),
    )


def _changing(row: str, identity: str, content: Content) -> RunEntry:
    """A run that is brought up to date; not for new times alone, which every run that ends below it brings."""
    version = version_of([content.status, dict(content.tags), dict(content.params), dict(content.metrics)])
    return RunEntry(key=f"{row}/{identity}", version=version, fixed=False, content=lambda: content)


def mean_scores(headline: Headline, finals: Sequence[Record]) -> dict[str, float | None]:
    """Means over the final seeds of the scores that all of them have, and the counts, which are the same for all.

    A diverged seed counts with the floor of the headline, the score that ranks, as on the board; it has no other
    scores.
    """
    parts = {f"{part}_{headline.name}": part for part in ("validation", "test")}
    scores = [
        record.scores if record.status == "done" else {n: score_of(record, headline, p) for n, p in parts.items()}
        for record in finals
    ]
    names = [name for name in scores[0] if all(each.get(name) is not None for each in scores)]
    means = {name: statistics.fmean(each[name] or 0.0 for each in scores) for name in names}
    done = [record for record in finals if record.status == "done"]
    return {**(_numbers(done[0].counts) if done else {}), **means, "finals_done": float(len(done))}


def _status(runs: Sequence[tuple[str, Record]], complete: bool, *, live: bool) -> tuple[RunStatus, str]:
    """FAILED if a run waits to be tried again, KILLED if the suite stopped before the study was complete."""
    failed = [f"{label}: {record.status}: {record.reason}" for label, record in runs if not record.settled]
    if failed:
        return "FAILED", "\n".join(failed)
    if complete:
        return "FINISHED", ""
    return ("RUNNING", "") if live else ("KILLED", "some of its runs are still to be done")


def _metrics(records: Measured) -> dict[str, float]:
    """Scores, counts and costs of a run, and the scores of its measures."""
    run, *derived = records
    values = _scores(run) | _numbers({**run.counts, **run.details, "run_seconds": run.provenance.get("seconds")})
    for each in derived:
        values |= _scores(each)
    return finite(values)


def _scores(record: Record) -> dict[str, float | None]:
    """Scores by name; of a measure, with its own name before theirs."""
    if record.cell["kind"] != "derived":
        return dict(record.scores)
    measure = record.cell["session"]["measure"]
    # MLflow allows no equals sign in the name of a metric.
    return {f"{measure}/{name.replace('=', ' ')}": value for name, value in record.scores.items()}


def _numbers(values: Mapping[str, Any]) -> dict[str, float | None]:
    """The values that are single numbers."""
    return {name: v for name, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _dumped(records: Measured) -> list[dict[str, Any]]:
    return [record.model_dump(mode="json") for record in records]


def _text(record: Record) -> str:
    return record.model_dump_json(indent=1) + "\n"
