"""``run --for SECONDS``: nothing is begun that would not end in time, and what is left is named with the call that goes
on.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench.cli.main import cli
from moebench.experiment import run_experiment
from moebench.plans.estimate import expected_seconds
from moebench.records import Records as StoreRecords
from moebench.records import Store
from moebench.runner import run_plan as module
from moebench.runner.options import RunOptions
from moebench.runner.progress import Progress
from moebench.runner.run_plan import OPEN, run_plan
from moebench.runner.stopping import Stop
from moebench.suites.request import ask
from plans import Records, a_plan
from tiny import write_suite

PLAN = {"variants": ["dense", "soft_moe"], "reference": [], "space": {"soft_moe": {"experts": [8]}}}


class Clock:
    """What ``time.monotonic`` gives."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class Executor:
    """Runs one job at a time, each in so many seconds of the clock; once asked to stop, jobs end without a record."""

    def __init__(self, store, clock, seconds):
        self.store, self.clock, self.seconds = store, clock, seconds
        self.running, self.began, self.measured, self.stopped = [], [], 0, False

    def has_room(self):
        return not self.running

    def submit(self, job):
        self.running.append(job)
        self.began.append(job.label)

    def wait(self, seconds):
        if not self.running:
            return []
        job = self.running.pop()
        if self.stopped:
            return [(job, None)]
        self.clock.now += self.seconds
        records = Records()
        record = records.settle(job.cell, seconds=self.seconds)
        self.store.put(record)
        return [(job, record)]

    def measure(self, cell, jobs, tick):
        self.measured += 1
        record = Records().settle(cell)
        self.store.put(record)
        return record

    def stop(self):
        self.stopped = True


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def run_until(plan, results, clock, until, seconds=10.0):
    store = Store(results)
    store.prepare()
    executor = Executor(store, clock, seconds)
    outcome = run_plan(
        plan,
        RunOptions(results=results),
        executor,
        Progress(),
        Stop(),
        pickled={},
        on_record=lambda record: None,
        before_alone=lambda: None,
        until=until,
    )
    return executor, outcome


def test_no_run_begins_that_would_not_end_in_time(tmp_path: Path, clock):
    plan = a_plan(**PLAN)  # 2 rows of 4 trials and 2 finals
    executor, outcome = run_until(plan, tmp_path, clock, until=55.0)
    assert len(executor.began) == 5, "ten seconds each, once the first has shown it"
    assert executor.measured == 0
    assert {status for _, status, _ in outcome.unfinished} == {OPEN}
    labels = [label for label, _, _ in outcome.unfinished]
    assert len(labels) == len(set(labels)) == 3 + 4, "three trials, and four finals that are not known yet"
    assert not executor.stopped

    executor, outcome = run_until(plan, tmp_path, clock, until=clock.now + 45.0)
    assert len(executor.began) == 4, "the next call goes on where the last one ended"
    executor, outcome = run_until(plan, tmp_path, clock, until=clock.now + 45.0)
    assert (len(executor.began), executor.measured) == (3, 0)
    assert [label.split()[0] for label, _, _ in outcome.unfinished] == ["latency"]
    executor, outcome = run_until(plan, tmp_path, clock, until=clock.now + 1000.0)
    assert (executor.began, executor.measured, outcome.unfinished) == ([], 1, [])


def test_a_shorter_run_takes_the_place_of_one_that_is_too_long(tmp_path: Path, clock, monkeypatch):
    monkeypatch.setattr(
        module, "expected_seconds", lambda plan, lookup: lambda work: 9.0 + 90.0 * (work.row == "dense")
    )
    executor, outcome = run_until(a_plan(**PLAN), tmp_path, clock, until=60.0, seconds=9.0)
    assert executor.began
    assert all(label.startswith("soft_moe") for label in executor.began)
    assert any(label.startswith("dense") for label, _, _ in outcome.unfinished)


def test_what_takes_longer_than_it_should_is_asked_to_keep_a_checkpoint(tmp_path: Path, clock, monkeypatch):
    monkeypatch.setattr(module, "expected_seconds", lambda plan, lookup: lambda work: 1.0)

    class Slow(Executor):
        def wait(self, seconds):
            if self.running and not self.stopped:
                self.clock.now += 1.0
                return []
            return super().wait(seconds)

    monkeypatch.setattr(sys.modules[__name__], "Executor", Slow)
    executor, outcome = run_until(a_plan(**PLAN), tmp_path, clock, until=30.0)
    assert (len(executor.began), executor.stopped) == (1, True)
    assert len(outcome.unfinished) == 12, "eight trials and four finals"


def test_without_a_limit_all_is_done(tmp_path: Path, clock):
    executor, outcome = run_until(a_plan(**PLAN), tmp_path, clock, until=float("inf"))
    assert (len(executor.began), executor.measured, outcome.unfinished) == (12, 1, [])


def test_a_run_is_expected_to_take_as_long_as_those_of_its_row():
    plan, records = a_plan(**PLAN), Records()
    works = list(plan.training(records))
    first = {work.row: work for work in reversed(works)}
    records.settle(first["dense"].cell, seconds=2.0)
    records.settle(first["soft_moe"].cell, seconds=6.0)
    seconds = expected_seconds(plan, records)
    assert {(work.row, seconds(work)) for work in works} == {("dense", 2.0), ("soft_moe", 6.0)}


def test_the_command_names_what_is_left_and_goes_on(tmp_path: Path):
    suite, results = write_suite(tmp_path), tmp_path / "results"
    words = ["run", suite, "--results", str(results), "--no-mlflow", "--for", "0.001"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 1
    assert "8 not done" in done.stderr
    call = done.stderr.rpartition("goes on with  `")[2].partition("`")[0]
    assert set(shlex.split(call)) == {"moebench", *words}
    assert not list(StoreRecords(Store(results)).store.records())


def test_a_real_run_goes_on_after_a_call_that_left_something(tmp_path: Path):
    suite = write_suite(tmp_path)
    results, asked = tmp_path / "results", ask(suite, variants=["dense"], seeds=1, trials=1)
    first = run_experiment(asked, RunOptions(results=results, mlflow=False, check=False, seconds=0.001), Progress())
    assert {status for _, status, _ in first.unfinished} == {OPEN}
    second = run_experiment(asked, RunOptions(results=results, mlflow=False, check=False, seconds=600), Progress())
    assert not second.unfinished
    assert second.board.entry("dense").seeds == 1
