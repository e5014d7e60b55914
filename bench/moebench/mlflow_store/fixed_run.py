"""Rows of fixed settings in MLflow: a run a row, below it a run a seed with what was measured of it; and the report."""

from __future__ import annotations

import statistics
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from moebench.mlflow_store.content import Content, Entry, version_of
from moebench.mlflow_store.labels import (
    experiment_tags,
    provenance_params,
    setting_params,
    status_tags,
    study_params,
    times,
)
from moebench.mlflow_store.training_run import Measured, curve_points, measured_texts, metrics_of
from moebench.plans.plan import Lookup, Plan
from moebench.records import Record, Store
from moebench.records.canonical import digest


def fixed_entries(
    plan: Plan, store: Store, lookup: Lookup, measured: Measured, unwritten: Container[str]
) -> Iterator[Entry]:
    """Every row, before its seeds. Of initial weights, what was measured stands for the seed. unwritten: identities of
    runs that are left for later.
    """
    rows: dict[str, list[Record]] = {}
    for work in plan.works(lookup):
        record = lookup(work.cell.identity)
        if record is not None and record.identity not in unwritten and not work.ranked and not work.of:
            rows.setdefault(work.row, []).append(record)
    for row, records in rows.items():
        parent = _row(plan, row, records, measured)
        yield parent
        for index, record in enumerate(records):
            yield _seed(plan, row, index, record, measured.get(record.identity, ()), parent.key, store)


def _row(plan: Plan, row: str, records: Sequence[Record], measured: Measured) -> Entry:
    metrics = [metrics_of(record, measured.get(record.identity, ())) for record in records]
    shared = set.intersection(*(set(each) for each in metrics))
    means = {name: statistics.fmean(each[name] for each in metrics) for name in sorted(shared)}
    identity = digest([plan.suite.name, row, {**records[0].cell, "seed": 0}])
    started, ended = zip(*map(times, records), strict=True)
    params = study_params(row, records[0].cell) | {"seeds": str(len(records))}
    content = Content(
        name=row,
        status="FINISHED" if all(record.settled for record in records) else "FAILED",
        started=min(started),
        ended=max(ended),
        tags=experiment_tags(plan) | {"moebench.kind": "row", "moebench.identity": identity, "moebench.row": row},
        params=params | setting_params(records[0].cell["settings"], params),
        metrics=means,
    )
    version = version_of([content.status, dict(content.tags), dict(content.params), dict(content.metrics)])
    return Entry(key=f"{row}/{identity}", version=version, fixed=False, content=lambda: content)


def _seed(
    plan: Plan, row: str, index: int, record: Record, derived: Sequence[Record], parent: str, store: Store
) -> Entry:
    def content() -> Content:
        started, ended = times(record)
        fixed = study_params(row, record.cell) | {"seed": str(record.cell["seed"])} | provenance_params(record)
        return Content(
            name=f"{row} seed {index}",
            status="FINISHED" if record.settled else "FAILED",
            started=started,
            ended=ended,
            tags=experiment_tags(plan)
            | {"moebench.kind": record.cell["kind"], "moebench.identity": record.identity, "moebench.row": row}
            | status_tags(record),
            params=fixed | setting_params(record.cell["settings"], fixed),
            metrics=metrics_of(record, derived),
            curves=curve_points(record, store, started, ended),
            texts=measured_texts(record, derived),
        )

    version = version_of([index, [each.model_dump(mode="json") for each in (record, *derived)]])
    return Entry(key=f"{row}/{record.identity}", version=version, parent=parent, content=content)


def report_entries(plan: Plan, page: Path | None) -> Iterator[Entry]:
    """The report's page and figures as artifacts of one run."""
    if page is None:
        return
    files = (page, *sorted((page.parent / "figures").glob("*.[sp][vn]g")))
    made = [round(path.stat().st_mtime * 1000) for path in files]
    tags = experiment_tags(plan) | {"moebench.kind": "report", "moebench.identity": digest(experiment_tags(plan))}
    yield Entry(
        key="report",
        version=version_of([digest([path.name, path.read_bytes().hex()]) for path in files]),
        fixed=False,
        content=lambda: Content(
            name="report", status="FINISHED", started=min(made), ended=max(made), tags=tags, files=files
        ),
    )
