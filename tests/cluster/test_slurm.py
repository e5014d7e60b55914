"""The executor on a SLURM of one node: the same records as the local one's, whatever SLURM does to a job."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
from pathlib import Path

import pytest
from cluster_suites import Reference, finish, found, opened, run_alone, run_on, slow_jobs, under_way, wait_until

from moebench.errors import ResultsError, UsageError
from moebench.records import Cell, Store
from slurm_world import Slurm, said

pytestmark = [pytest.mark.timeout(240)]


def jobs_of_slurm() -> list[str]:
    """The ids of those that wait or run."""
    return said("squeue", "--noheader", "--array", "--format=%i").split()


def kill_all_of(job: str) -> None:
    """Kill every process of a job, as a node that fails does; SLURM itself would ask them to end first."""
    own = said("squeue", "--noheader", "--format=%A", f"--jobs={job}").strip()
    for line in said("scontrol", "listpids", own).splitlines()[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)


def test_slurm_gives_the_records_of_local(slurm: Slurm, reference: Reference, tmp_path: Path) -> None:
    results = tmp_path / "results"
    session = run_on("slurm", reference.suite, results, variants=reference.variants)
    assert sorted(session.unfinished) == sorted(reference.unfinished)
    assert found(results) == found(reference.results)
    assert list((results / "slurm").iterdir()) == []


def test_submitits_own_cluster_does_too(reference: Reference, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    results = tmp_path / "results"
    session = run_on("slurm", reference.suite, results, variants=("dense",), cluster="local")
    assert session.unfinished == ()
    assert found(results) == {
        key: of for key, of in found(reference.results).items() if of[0].get("variant") != "crash"
    }


def test_a_job_that_is_preempted_goes_on_from_its_checkpoint(slurm: Slurm, tmp_path: Path) -> None:
    results = tmp_path / "results"
    jobs = slow_jobs(tmp_path, results, steps=40)
    executor = opened("slurm", results)
    try:
        executor.fit("cpu")
        for job in jobs:
            executor.submit(job)
        assert executor.wait(0) == []
        under_way(tmp_path, 2)
        array = jobs_of_slurm()
        assert [each.partition("_")[2] for each in array] == ["0", "1"]
        said("scancel", "--signal=USR2", array[0])
        wait_until(
            lambda: said("squeue", "--noheader", "--array", "--states=PENDING", "--format=%i").split() == array[:1]
        )
        # A requeued job waits two minutes. A few seconds are needed: SLURM refuses a start ("credential revoked")
        # in the second in which the first one was ended.
        said("scontrol", "update", f"JobId={array[0]}", "StartTime=now+4seconds")
        ended = finish(executor)
    finally:
        executor.close()
    assert sorted("resumed_at_step" in record.provenance for _, record in ended if record) == [False, True]
    assert found(results) == run_alone(jobs, tmp_path / "local")


def test_a_job_that_is_lost_is_given_back_and_one_that_is_stopped_keeps_a_checkpoint(
    slurm: Slurm, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    lost, stopped = slow_jobs(tmp_path, results, steps=300)
    executor = opened("slurm", results)
    try:
        executor.fit("cpu")
        executor.submit(lost)
        executor.submit(stopped)
        executor.wait(0)
        under_way(tmp_path, 2)
        kill_all_of(jobs_of_slurm()[0])
        wait_until(lambda: executor.wait(1.0) == [(lost, None)])
        assert executor.running == [stopped]
        executor.stop()
        assert finish(executor) == [(stopped, None)]
    finally:
        executor.close()
    assert not Store(results).checkpoint_path(lost.cell.identity).exists()
    assert Store(results).checkpoint_path(stopped.cell.identity).exists()
    assert list((results / "slurm").glob("*/*_log.err"))  # for whoever wants to know how it was lost


def test_a_job_that_someone_cancels_is_given_back_with_its_checkpoint(slurm: Slurm, tmp_path: Path) -> None:
    results = tmp_path / "results"
    job, _ = slow_jobs(tmp_path, results, steps=300)
    executor = opened("slurm", results)
    try:
        executor.fit("cpu")
        executor.submit(job)
        executor.wait(0)
        under_way(tmp_path, 1)
        said("scancel", *jobs_of_slurm())
        assert finish(executor) == [(job, None)]
    finally:
        executor.close()
    assert Store(results).checkpoint_path(job.cell.identity).exists()


def test_latency_is_not_measured_on_another_device(slurm: Slurm, reference: Reference, tmp_path: Path) -> None:
    (planned,) = [record for record in Store(reference.results).records() if record.cell["kind"] == "latency"]
    session = planned.cell["session"] | {"device": "NVIDIA H100"}
    cell = dataclasses.replace(Cell.from_json(planned.cell), session=session)
    executor = opened("slurm", tmp_path)
    try:
        with pytest.raises(UsageError, match="measured on 'NVIDIA H100'") as caught:
            executor.measure(cell, slow_jobs(tmp_path, tmp_path, steps=1), lambda text: None)
        assert caught.value.code == "node-error"
    finally:
        executor.close()
    assert list(Store(tmp_path).records()) == []


def test_the_node_has_to_see_the_results(slurm: Slurm) -> None:
    results = slurm.hidden / "results"
    executor = opened("slurm", results)
    try:
        with pytest.raises(ResultsError) as caught:
            executor.place(None)
        assert (caught.value.code, caught.value.facts["results"]) == ("results-not-shared", results)
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"partion": "x"}, "unknown-executor-option"),
        ({"time": "1h", "cluster": "local"}, "option-not-whole"),
        ({"cluster": "lsf"}, "unknown-cluster"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, str], code: str, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    with pytest.raises(UsageError) as caught:
        opened("slurm", tmp_path, **options)
    assert caught.value.code == code


def test_without_slurm_there_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError) as caught:
        opened("slurm", tmp_path)
    assert caught.value.code == "no-sbatch"


def test_slurm_says_why_it_takes_no_job(slurm: Slurm, tmp_path: Path) -> None:
    executor = opened("slurm", tmp_path, partition="nowhere")
    with pytest.raises(UsageError, match=r"SLURM did not take a job \(.*[Ii]nvalid partition.*\)"):
        executor.place(None)
    executor.close()
