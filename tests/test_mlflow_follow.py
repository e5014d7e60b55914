import contextlib
import io
import json
import os
import re
import signal
import sys
import threading
import time

import pytest

from moebench.mlflow_store import follower as follower_module
from moebench.mlflow_store.database import open_client, writing
from moebench.mlflow_store.follow import run
from moebench.mlflow_store.follower import Follower
from moebench.mlflow_store.write import needs_sync
from moebench.records import Store
from tracking_world import (
    MLFLOW_WARNINGS,
    make_plan,
    put_board,
    put_finals,
    put_latency,
    put_trials,
    ready_results,
    record_of,
)

pytestmark = MLFLOW_WARNINGS
RECORD = record_of(make_plan().groups[0].trial_cells[0], {})
LATER = r"MLflow could not be written \(.+\); run `moebench sync` later\."


@pytest.fixture(autouse=True)
def _own_store(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def runs_of(results):
    client = open_client(results)
    experiment = client.get_experiment_by_name("moebench/tiny/protocol 1")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}, experiment


def test_a_suite_can_be_watched_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(follower_module, "FINISH_SECONDS", 300.0)  # the process gives way to whatever else runs here
    results, plan = ready_results(tmp_path / "results"), make_plan()
    store = Store(results)
    first, second = plan.groups
    put_trials(store, first)  # an earlier run's, which was never written
    with Follower(results, [plan]) as follower:
        follower.start()
        for record in put_trials(store, second):
            follower.record(record)
        follower.flush(300)
        seen, _ = runs_of(results)
        assert {"dense digits trial 1", "soft_moe digits trial 1"} <= set(seen)
        assert seen["soft_moe digits"].info.status == "RUNNING"
        for record in put_finals(store, second):
            follower.record(record)
        follower.flush(300)
        seen, _ = runs_of(results)
        assert seen["soft_moe digits seed 1"].info.status == "FINISHED", "what came last was not waited for"
        for record in (*put_finals(store, first), *put_latency(store, plan)):
            follower.record(record)
        put_board(results / "tiny")
        follower.finish([plan], None)
    assert follower.problem == ""
    seen, experiment = runs_of(results)
    assert len(seen) == 12
    assert {run.info.status for run in seen.values()} == {"FINISHED"}
    assert experiment.tags["mlflow.note.content"] == "| rank |\n"
    assert not needs_sync(plan, store)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"], "the working directory was written to"


def test_a_suite_that_is_stopped_lets_the_process_finish_what_it_was_told(tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/heard; touch {tmp_path}/ended\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    plan = make_plan()
    record = put_trials(Store(tmp_path), plan.groups[0])[0]
    with contextlib.suppress(KeyboardInterrupt), Follower(tmp_path, [plan]) as follower:
        follower.start()
        follower.record(record)
        raise KeyboardInterrupt
    until((tmp_path / "ended").exists)
    lines = [json.loads(line) for line in (tmp_path / "heard").read_text(encoding="utf-8").splitlines()]
    as_sent = json.loads(json.dumps(plan.to_json()))
    assert lines == [{"results": str(tmp_path), "plans": [as_sent]}, {"identity": record.identity}]


def test_a_study_that_nobody_works_on_any_more_is_not_shown_as_running(tmp_path):
    results, plan = ready_results(tmp_path / "results"), make_plan()
    put_trials(Store(results), plan.groups[0])
    assert follow_here(results, plan) == (0, [{"problem": ""}, {"problem": ""}])
    assert runs_of(results)[0]["dense digits"].info.status == "KILLED"


def test_finish_starts_a_process_only_if_something_is_missing(tmp_path, monkeypatch):
    plan, store = make_plan(), Store(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no such program"))
    follower = Follower(tmp_path, [plan])
    follower.finish([plan], None)
    assert follower.problem == ""
    put_trials(store, plan.groups[0])
    follower.finish([plan], None)
    assert_matches(LATER, follower.problem)


def test_each_flush_is_answered_after_what_came_before_it(tmp_path):
    results, plan = ready_results(tmp_path / "results"), make_plan()
    put_trials(Store(results), plan.groups[0])
    status, answers = follow_here(results, plan, {"identity": "i"}, {"flush": 1}, {"flush": 2})
    assert status == 0
    assert [answer["flush"] for answer in answers if "flush" in answer] == [1, 2]
    assert [answer["problem"] for answer in answers if "problem" in answer][-1] == ""
    assert set(runs_of(results)[0]) == {"dense digits", "dense digits trial 0", "dense digits trial 1"}


def test_a_store_out_of_reach_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    plan = make_plan()
    put_trials(Store(tmp_path), plan.groups[0])
    status, answers = follow_here(tmp_path, plan, {"identity": "i"}, {"flush": 1})
    assert status == 1
    assert len(answers) == 1
    assert_matches(LATER, answers[0]["problem"])


def follow_here(results, plan, *lines):
    """What the process does, done in this one: its exit status and its answers."""
    answers = []
    sent = [{"results": str(results), "plans": [plan.to_json()]}, *lines]
    status = run(io.StringIO("".join(json.dumps(line) + "\n" for line in sent)), answers.append)
    return status, answers


def until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_second_writer_leaves_the_first_alone(tmp_path):
    with writing(tmp_path):
        status, (flushed, problem) = follow_here(tmp_path, make_plan(), {"flush": 1})
    assert (status, flushed) == (1, {"flush": 1}), "nothing is being written, so nobody need wait"
    assert "another process was at it" in problem["problem"]
    assert not (tmp_path / "mlflow.db").exists()


def test_a_second_writer_takes_its_turn_when_the_first_ends(tmp_path):
    results, plan = ready_results(tmp_path / "results"), make_plan()
    reading, writing_end = os.pipe()
    answers = []
    with os.fdopen(reading) as stream, os.fdopen(writing_end, "w", buffering=1) as sent:
        second = threading.Thread(target=run, args=(stream, answers.append))
        with writing(results):
            second.start()
            print(json.dumps({"results": str(results), "plans": [plan.to_json()]}), file=sent)
            put_trials(Store(results), plan.groups[0])
            print(json.dumps({"flush": 1}), file=sent)
            until(lambda: {"flush": 1} in answers)
        until(lambda: {"problem": ""} in answers)
        sent.close()
        second.join(60)
    assert "dense digits trial 1" in runs_of(results)[0]


def test_a_process_that_does_not_listen_keeps_nobody_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(follower_module, "STOP_SECONDS", 0.1)
    writer = Follower(tmp_path, [make_plan()])
    writer.start()
    os.kill(writer.pid, signal.SIGSTOP)
    began = time.monotonic()
    for _ in range(20_000):
        writer.record(RECORD)
    assert not writer.flush(0.1)
    writer.close(0.1)
    assert time.monotonic() - began < 5
    assert_matches(LATER, writer.problem)
    with pytest.raises(ProcessLookupError):
        os.kill(writer.pid, 0)


def test_a_process_that_dies_says_where_its_words_are(tmp_path):
    writer = Follower(tmp_path, [make_plan()])
    writer.start()
    os.kill(writer.pid, signal.SIGKILL)
    assert not writer.flush(60)
    writer.record(RECORD)
    writer.close(60)
    assert_matches(
        r"MLflow could not be written \(its process ended with status -9; see '.*writer\.log'\)",
        writer.problem,
    )


def test_a_directory_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / ".mlflow").write_text("a file where a folder should be", encoding="utf-8")
    writer = Follower(tmp_path, [make_plan()])
    writer.start()
    writer.record(RECORD)
    assert not writer.flush(1)
    writer.close(1)
    assert_matches(LATER, writer.problem)


def assert_matches(pattern, text):
    assert re.match(pattern, text), text
