"""The executor on a Ray of two nodes: the same records as the local one's, whatever becomes of a node."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from cluster_suites import (
    Reference,
    finish,
    forget,
    found,
    opened,
    run_alone,
    run_on,
    slow_jobs,
    under_way,
    wait_until,
    write_slow,
)

from moebench.errors import DeviceError, ResultsError, UsageError
from moebench.records import Cell, Record, Store
from moebench.runner.job import Job
from ray_world import OTHER_CPU, RayCluster

pytestmark = [pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def ran(ray_cluster: RayCluster, reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the reference's suite, run by Ray."""
    results = tmp_path_factory.mktemp("ran") / "results"
    session = run_on("ray", reference.suite, results, variants=reference.variants)
    assert sorted(session.unfinished) == sorted(reference.unfinished)
    return results


def records(results: Path, kind: str) -> list[Record]:
    return [record for record in Store(results).records() if record.cell["kind"] == kind]


def test_two_nodes_give_the_records_of_local(ran: Path, reference: Reference) -> None:
    assert found(ran) == found(reference.results)
    assert {record.status for record in Store(ran).records()} == {"done", "error"}


def test_both_nodes_have_runs(ray_cluster: RayCluster, tmp_path: Path) -> None:
    """Of runs so long that a node whose first process begins late does not miss them all."""
    suite, spec = write_slow(tmp_path, steps=100)
    run_on("ray", suite, tmp_path / "results", variants=(spec,))
    done = [record for record in records(tmp_path / "results", "trial") if record.cell["variant"] == "slow"]
    assert len({record.provenance["machine"] for record in done}) == 2
    assert OTHER_CPU in {record.provenance["machine"] for record in done}


def test_latency_is_measured_on_the_node_with_the_planned_device(ran: Path, ray_cluster: RayCluster) -> None:
    (planned,) = records(ran, "latency")
    assert planned.provenance["machine"] != OTHER_CPU
    session = planned.cell["session"] | {"device": f"cpu ({OTHER_CPU})", "rounds": 2}
    there = dataclasses.replace(Cell.from_json(planned.cell), session=session)
    executor = opened("ray", ran)
    try:
        executor.fit("cpu")
        record = executor.measure(there, [finalist(ran)], lambda text: None)
        nowhere = dataclasses.replace(there, session=session | {"device": "NVIDIA H100"})
        with pytest.raises(DeviceError) as caught:
            executor.measure(nowhere, [finalist(ran)], lambda text: None)
        assert (caught.value.code, caught.value.facts["wanted"]) == ("cluster-lacks-device", "NVIDIA H100")
    finally:
        executor.close()
    assert (record.status, record.provenance["machine"]) == ("done", OTHER_CPU)


def finalist(results: Path) -> Job:
    """The job of the one final run."""
    (final,) = records(results, "final")
    (some, *_) = slow_jobs(results.parent, results, steps=12)
    return dataclasses.replace(some, cell=Cell.from_json(final.cell), row="dense", spec="dense")


def test_a_node_that_is_killed_takes_no_run_with_it(ray_cluster: RayCluster, tmp_path: Path) -> None:
    suite, spec = write_slow(tmp_path, steps=100)
    run_on("local", suite, tmp_path / "local", variants=(spec,))
    forget(tmp_path)
    results, trouble = tmp_path / "results", []

    def kill() -> None:
        try:
            under_way(tmp_path, 2)
            assert not [record for record in Store(results).records() if record.cell["variant"] == "slow"]
            ray_cluster.kill()
        except BaseException as error:
            trouble.append(error)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        session = run_on("ray", suite, results, variants=(spec,))
    finally:
        killer.join()
        ray_cluster.add()
    assert trouble == []
    assert session.unfinished == ()
    assert found(results) == found(tmp_path / "local")


def test_runs_that_are_told_to_stop_keep_checkpoints_and_go_on_from_them(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    jobs = [dataclasses.replace(job, checkpoint_seconds=0.1) for job in slow_jobs(tmp_path, results, steps=100)]
    executor = opened("ray", results)
    try:
        executor.fit("cpu")
        assert executor.has_room()
        for job in jobs:
            executor.submit(job)
        assert not executor.has_room()
        # A run that is stopped before its first checkpoint has taken no step that it could resume at.
        wait_until(lambda: all(Store(results).checkpoint_path(job.cell.identity).exists() for job in jobs))
        executor.stop()
        assert sorted(job.label for job, record in finish(executor) if record is None) == [job.label for job in jobs]
        for job in jobs:
            executor.submit(job)
        ended = finish(executor)
    finally:
        executor.close()
    assert all(record.provenance["resumed_at_step"] > 0 for _, record in ended if record)
    assert found(results) == run_alone(jobs, tmp_path / "local")


def test_a_node_has_to_see_the_results(ray_cluster: RayCluster) -> None:
    results = ray_cluster.hidden / "results"
    executor = opened("ray", results)
    try:
        with pytest.raises(ResultsError) as caught:
            executor.place(None)
        assert caught.value.code == "results-not-shared"
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"adress": "x"}, "unknown-executor-option"),
        ({"gpus": "all"}, "gpus-not-positive"),
        ({"address": "127.0.0.1:9"}, "no-cluster"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, str], code: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(UsageError) as caught:
        opened("ray", tmp_path, **options)
    assert caught.value.code == code
