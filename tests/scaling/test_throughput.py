"""How many trainings an hour two processors get through, by each way to use them, beside one local worker."""

import statistics

import pytest
from measured import Throughput
from work import run, write_real

TRIALS, STEPS = 10, 200


class Beside:
    """One local worker's runs an hour, measured before the first way and after each."""

    def __init__(self, suite, folder):
        self.suite, self.folder = suite, folder
        self.rates = []
        self.again()

    def again(self):
        ran = run(self.suite, self.folder / str(len(self.rates)), "--workers", "1", "--no-mlflow")
        self.rates.append(ran.runs_an_hour(workers=1))


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    return Beside(write_real(folder, trials=TRIALS, steps=STEPS), folder)


def compared(folder, measured, beside, way, *options, commands=1):
    """How many times the runs an hour of one local worker, which goes before and after."""
    rate = run(beside.suite, folder, *options, "--no-mlflow", beside=commands).runs_an_hour(workers=2)
    beside.again()
    times = rate / statistics.mean(beside.rates[-2:])
    around = " and ".join(f"{each:.0f}" for each in beside.rates[-2:])
    print(f"{way}: {rate:.0f} runs an hour, {times:.2f} times one worker, which had {around} around it")
    measured.throughputs.append(Throughput(way, rate, times))
    return times


def test_two_local_workers_are_worth_nearly_two(tmp_path, measured, beside):
    assert compared(tmp_path, measured, beside, "local, two workers", "--workers", "2") >= 1.8


def test_two_commands_share_one_directory(tmp_path, measured, beside):
    way = "local, the command given twice, a worker each"
    assert compared(tmp_path, measured, beside, way, "--workers", "1", commands=2) > 1.5


def test_ray(tmp_path, measured, beside, ray_cluster):
    assert compared(tmp_path, measured, beside, "ray, two nodes of one processor", "--executor", "ray") > 1.5


@pytest.mark.usefixtures("slurm")
def test_slurm(tmp_path, measured, beside):
    """Each run is a job that starts Python and torch anew, so that runs as short as these lose."""
    way = "slurm, one node of two processors"
    assert compared(tmp_path, measured, beside, way, "--executor", "slurm", "--workers", "2") > 0.3
