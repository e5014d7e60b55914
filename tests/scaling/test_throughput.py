"""How many trainings an hour two processors get through, by each way to use them, beside one local worker."""

import statistics

import pytest
from work import run, write_real

TRIALS, STEPS = 10, 600


def one_worker(suite, folder):
    options = ("--workers", "1", "--no-mlflow")
    return run(suite, folder / "one", *options).runs_an_hour(workers=1)


def compared(folder, measured, way, *options, beside=1):
    """How many times the runs an hour of one local worker, which goes before and after."""
    suite = write_real(folder, trials=TRIALS, steps=STEPS)
    before = one_worker(suite, folder / "before")
    ran = run(suite, folder / "results", *options, "--no-mlflow", beside=beside)
    after = one_worker(suite, folder / "after")
    times = ran.runs_an_hour(workers=2) / statistics.mean([before, after])
    print(f"{way}: {times:.2f} times one worker, {ran.runs_an_hour(2):.0f} runs an hour ({before:.0f}, {after:.0f})")
    measured.throughput(way, ran.runs_an_hour(2), times)
    return times


def test_two_local_workers_are_worth_nearly_two(tmp_path, measured):
    assert compared(tmp_path, measured, "local, two workers", "--workers", "2") >= 1.8


def test_two_commands_share_one_directory(tmp_path, measured):
    assert compared(tmp_path, measured, "local, the command given twice", "--workers", "1", beside=2) > 1.5


def test_ray(tmp_path, measured, ray_cluster):
    assert compared(tmp_path, measured, "ray, two nodes of one processor", "--executor", "ray") > 1.5


@pytest.mark.usefixtures("slurm")
def test_slurm(tmp_path, measured):
    """Each run is a job that starts Python and torch anew, so that short ones lose."""
    way = "slurm, one node of two processors"
    assert compared(tmp_path, measured, way, "--executor", "slurm", "--workers", "2") > 1.0
