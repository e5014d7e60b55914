"""Sweeps in MLflow: an experiment a sweep, a run a row, below it a run a seed with what was measured of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.execution.run_plan import Records
from moebench.protocol import PROTOCOL
from moebench.runs import Record, Store
from moebench.runs.canonical import digest
from moebench.tracking.content import Content, Entry, finite, version_of
from moebench.tracking.database import open_client, writing
from moebench.tracking.labels import provenance_params, setting_params, status_tags, study_params, times
from moebench.tracking.training_run import curve_points, run_numbers
from moebench.tracking.write import write_missing

if TYPE_CHECKING:
    from moebench.sweeps.plan import SweepPlan

Measured = dict[str, list[Record]]
"""Identity of a final run -> what was derived from it."""


def sync_sweep(plan: SweepPlan, store: Store, report: Path | None) -> int:
    """Write what MLflow lacks of a sweep; returns how many runs that were. report: the page, its figures beside it."""
    from moebench.tracking.experiment import Experiment

    with writing(store.root):
        tags = _tags(plan)
        name = f"moebench/{plan.sweep.name}/protocol {PROTOCOL}"
        experiment = Experiment(open_client(store.root), name, tags, store.root)
        return write_missing(experiment, [*entries(plan, store), *_report(plan, report)])


def entries(plan: SweepPlan, store: Store) -> Iterator[Entry]:
    """Every row, before its seeds."""
    lookup = Records(store)
    rows: dict[str, list[Record]] = {}
    derived: Measured = {}
    for work in plan.works:
        record = lookup(work.cell.identity)
        if record is None:
            continue
        of = work.cell.session.get("of")
        if of:
            derived.setdefault(of, []).append(record)
        else:
            rows.setdefault(work.row, []).append(record)
    for row, records in rows.items():
        parent = _row(plan, row, records, derived)
        yield parent
        for index, record in enumerate(records):
            yield _seed(plan, row, index, record, derived.get(record.identity, []), parent.key, store)


def metrics_of(record: Record, derived: Sequence[Record]) -> dict[str, float]:
    """Scores and costs of a run, and the scores of what was derived from it, the measure's name before theirs."""
    own = record.scores if record.cell["kind"] == "final" else _named(record)
    values: dict[str, float | None] = {**own, **run_numbers(record)}
    for each in derived:
        values |= _named(each)
    return finite(values)


def _named(derived: Record) -> dict[str, float | None]:
    measure = derived.cell["session"]["measure"]
    # MLflow allows no equals sign in the name of a metric.
    return {f"{measure}/{name.replace('=', ' ')}": value for name, value in derived.scores.items()}


def _row(plan: SweepPlan, row: str, records: Sequence[Record], derived: Measured) -> Entry:
    metrics = [metrics_of(record, derived.get(record.identity, [])) for record in records]
    shared = set.intersection(*(set(each) for each in metrics))
    means = {name: statistics.fmean(each[name] for each in metrics) for name in sorted(shared)}
    identity = digest([plan.sweep.name, row, {**records[0].cell, "seed": 0}])
    started, ended = zip(*map(times, records), strict=True)
    params = study_params(row, records[0].cell) | {"seeds": str(len(records))}
    content = Content(
        name=row,
        status="FINISHED" if all(record.settled for record in records) else "FAILED",
        started=min(started),
        ended=max(ended),
        tags=_tags(plan) | {"moebench.kind": "row", "moebench.identity": identity, "moebench.row": row},
        params=params | setting_params(records[0].cell["settings"], params),
        metrics=means,
    )
    version = version_of([content.status, dict(content.tags), dict(content.params), dict(content.metrics)])
    return Entry(key=f"{row}/{identity}", version=version, fixed=False, content=lambda: content)


def _seed(
    plan: SweepPlan, row: str, index: int, record: Record, derived: Sequence[Record], parent: str, store: Store
) -> Entry:
    def content() -> Content:
        started, ended = times(record)
        fixed = study_params(row, record.cell) | {"seed": str(record.cell["seed"])} | provenance_params(record)
        texts = {"record.json": record.model_dump_json(indent=1) + "\n"}
        texts |= {f"{each.cell['session']['measure']}.json": each.model_dump_json(indent=1) + "\n" for each in derived}
        return Content(
            name=f"{row} seed {index}",
            status="FINISHED" if record.settled else "FAILED",
            started=started,
            ended=ended,
            tags=_tags(plan)
            | {"moebench.kind": record.cell["kind"], "moebench.identity": record.identity, "moebench.row": row}
            | status_tags(record),
            params=fixed | setting_params(record.cell["settings"], fixed),
            metrics=metrics_of(record, derived),
            curves=curve_points(record, store, started, ended),
            texts=texts,
        )

    version = version_of([index, [each.model_dump(mode="json") for each in (record, *derived)]])
    return Entry(key=f"{row}/{record.identity}", version=version, parent=parent, content=content)


def _report(plan: SweepPlan, page: Path | None) -> Iterator[Entry]:
    """The report's page and figures as artifacts of one run."""
    if page is None:
        return
    files = (page, *sorted((page.parent / "figures").glob("*.[sp][vn]g")))
    made = [round(path.stat().st_mtime * 1000) for path in files]
    tags = _tags(plan) | {"moebench.kind": "report", "moebench.identity": digest(_tags(plan))}
    yield Entry(
        key="report",
        version=version_of([digest([path.name, path.read_bytes().hex()]) for path in files]),
        fixed=False,
        content=lambda: Content(
            name="report", status="FINISHED", started=min(made), ended=max(made), tags=tags, files=files
        ),
    )


def _tags(plan: SweepPlan) -> dict[str, str]:
    return {"moebench.suite": plan.sweep.name, "moebench.protocol": PROTOCOL}
