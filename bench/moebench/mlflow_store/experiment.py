"""One experiment in MLflow: which runs it has, writing one, and names as MLflow takes them."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from moebench.mlflow_store.content import Content, Data, RunEntry, shortened
from moebench.mlflow_store.database import artifact_location, tracking_uri
from moebench.mlflow_store.ledger import LoggedRun
from moebench.records.canonical import digest

KEY, VERSION, PARENT = "moebench.key", "moebench.version", "mlflow.parentRunId"
METRICS_A_CALL = 900
"""MLflow takes 1000 a call."""


class TrackedExperiment:
    """The experiment of that name, made if there is none. ``known``: its runs by key, as found there."""

    def __init__(self, client: MlflowClient, name: str, tags: Mapping[str, str], results: Path) -> None:
        self.name = name
        self._client = client
        self.id = _find_or_create(client, name, dict(tags), results)
        self.known = {run.data.tags[KEY]: _known(run) for run in self._runs() if KEY in run.data.tags}

    def has(self, entry: RunEntry) -> bool:
        """Whether the run is there, complete, up to date, and below the right one."""
        known = self.known.get(entry.key)
        if known is None or known.version != entry.version:
            return False
        return not entry.parent or (entry.parent in self.known and known.parent == self._parent(entry))

    def write(self, entry: RunEntry) -> None:
        """Write a run whole; its version comes last, so that one cut short is written again."""
        content = with_keys(entry.content())
        run_id, there = self._start(entry, content)
        self._log(run_id, content, there)
        if content.data is not None:
            self._client.log_inputs(run_id, [_dataset(content.data)])
        for name, text in content.texts.items():
            self._client.log_text(run_id, text, name)
        for path in content.files:
            self._client.log_artifact(run_id, str(path))
        if content.status == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, content.status, end_time=content.times.ended)
        for name, value in content.about.items():
            self._client.set_experiment_tag(self.id, name, value)
        self._client.set_tag(run_id, VERSION, entry.version)
        self.known[entry.key] = LoggedRun(run_id, entry.version, self._parent(entry))

    def _parent(self, entry: RunEntry) -> str:
        """The run id of the entry's parent, which has been written before it."""
        return self.known[entry.parent].run_id if entry.parent else ""

    def _start(self, entry: RunEntry, content: Content) -> tuple[str, dict[str, float]]:
        """The run to write to, and the metrics it has: the old one if it can be updated, else a new."""
        known = self.known.get(entry.key)
        if known is not None:
            run = self._client.get_run(known.run_id)
            if not entry.fixed and _can_become(run, content):
                return known.run_id, dict(run.data.metrics)
            self._delete(known.run_id)
        tags = {KEY: entry.key, "mlflow.source.name": "moebench", **content.tags}
        if entry.parent:
            tags[PARENT] = self._parent(entry)
        run = self._client.create_run(self.id, start_time=content.times.started, tags=tags, run_name=content.name)
        return run.info.run_id, {}

    def _delete(self, run_id: str) -> None:
        """Take a run away, and all that are below it."""
        for key, known in list(self.known.items()):
            if run_id in (known.run_id, known.parent):
                self._client.delete_run(known.run_id)
                del self.known[key]

    def _log(self, run_id: str, content: Content, there: Mapping[str, float]) -> None:
        params = [Param(name, value) for name, value in content.params.items()]
        tags = [RunTag(name, value) for name, value in content.tags.items()]
        metrics = list(_metrics(content, there))
        self._client.log_batch(run_id, metrics=metrics[:METRICS_A_CALL], params=params, tags=tags)
        for start in range(METRICS_A_CALL, len(metrics), METRICS_A_CALL):
            self._client.log_batch(run_id, metrics=metrics[start : start + METRICS_A_CALL])

    def _runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self.id], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _find_or_create(client: MlflowClient, name: str, tags: dict[str, str], results: Path) -> str:
    """The id of the experiment; a deleted one is restored."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = artifact_location(results, tracking_uri(results))
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _known(run: Run) -> LoggedRun:
    tags = run.data.tags
    return LoggedRun(run.info.run_id, tags.get(VERSION, ""), tags.get(PARENT, ""))


def _can_become(run: Run, content: Content) -> bool:
    """Parameters cannot be changed, only added."""
    there = run.data.params
    return all(there.get(name, value) == value for name, value in content.params.items())


def _dataset(data: Data) -> DatasetInput:
    profile = json.dumps({"split": data.split, "metric": data.metric})
    entry = Dataset(data.name, data.digest, "local", json.dumps({"uri": data.name}), profile=profile)
    return DatasetInput(entry, [InputTag("mlflow.data.context", "train, validation, test")])


def _metrics(content: Content, there: Mapping[str, float]) -> Iterator[Metric]:
    for name, value in content.metrics.items():
        if there.get(name) != value:
            yield Metric(name, value, content.times.ended, 0)
    for point in content.curves:
        yield Metric(point.name, point.value, point.time, point.step)


LENGTH = 250
"""MLflow takes no longer name."""

VALUE_LENGTH = 5000
"""Of a parameter or a tag: MLflow refuses longer ones, or cuts them in silence."""


def key(name: str) -> str:
    """The name itself where MLflow takes it; else what can be kept of it, ended by its digest so that two stay two."""
    if re.fullmatch(r"[\w\-./: ]+", name, re.ASCII) and len(name) <= LENGTH and _is_path(name):
        return name
    parts = [re.sub(r"[^\w\-.: ]", "_", part, flags=re.ASCII).strip(". ") for part in name.split("/")]
    kept = "/".join(filter(None, parts))[: LENGTH - 9].rstrip("/. ")
    return f"{kept}_{digest(name, 8)}".lstrip("_")


def with_keys(content: Content) -> Content:
    """The content under names, and in texts of a length, that MLflow takes."""
    return dataclasses.replace(
        content,
        name=shortened(content.name, LENGTH),
        tags={key(name): shortened(value, VALUE_LENGTH) for name, value in content.tags.items()},
        params={key(name): shortened(value, VALUE_LENGTH) for name, value in content.params.items()},
        metrics={key(name): value for name, value in content.metrics.items()},
        curves=tuple(point._replace(name=key(point.name)) for point in content.curves),
    )


def _is_path(name: str) -> bool:
    """MLflow keeps names as paths: no empty part, no going up, no leading or trailing slash."""
    return posixpath.normpath(name) == name and name != "." and not name.startswith(("/", ".."))
