"""Killed at fifty random moments, of whatever stage, a suite loses nothing that had finished and ends the same."""

import os
import random
import re
import signal
import time

import pytest
from fault_suites import STEPS, board, children, claimed, end, records, run, scores, start, until, workers

from tiny import write_suite

KILLS = 50
SEEDS = range(5)
EACH = KILLS // len(SEEDS)


def kill_something(process, draw):
    """Everything, the suite, a worker or the fork server; by force, or as a person or a cluster would. Whether there
    was such a thing.
    """
    what = draw.choice(["all", "suite", "worker", "worker", "server", "int", "term"])
    if process.poll() is not None:
        return False
    if what in ("worker", "server"):
        pids = workers(process) if what == "worker" else children(process.pid)
        for pid in draw.sample(pids, min(1, len(pids))):
            os.kill(pid, signal.SIGKILL)
        return bool(pids)
    if what == "all":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.send_signal({"suite": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM}[what])
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_random_kills_lose_no_finished_run_and_the_board_is_the_same(tmp_path, undisturbed, seed):
    draw = random.Random(seed)
    killed = boards = 0
    while killed < EACH:
        boards += 1
        (folder := tmp_path / str(boards)).mkdir()
        killed += kill_until_it_is_done(folder, draw, EACH - killed)
        assert scores(folder / "results") == undisturbed.scores
        assert board(str(folder / "tiny.toml"), folder / "results") == undisturbed.board
        assert not list((folder / "results" / "checkpoints").rglob("*.checkpoint"))
        assert not list((folder / "results" / "claims").glob("*.claim"))
    print(f"{killed} kills, {boards} boards")


def kill_until_it_is_done(folder, draw, at_most):
    """How often it was killed; each time, what had finished is still there."""
    suite, results = write_suite(folder, steps=STEPS), folder / "results"
    kept = {}
    killed, code = 0, None
    while code != 0:
        process = start(suite, results, *([] if draw.random() < 0.5 else ["--timeout", "300"]))
        if killed < at_most:
            time.sleep(draw.uniform(0.0, 4.0))
            if draw.random() < 0.4:  # any moment of training, not of starting
                until(lambda p=process: workers(p) or p.poll() is not None)
                time.sleep(draw.uniform(0.0, 1.5))
            # Several in one program, as long as it goes on.
            for _ in range(min(draw.randint(1, 3), at_most - killed)):
                killed += kill_something(process, draw)
                time.sleep(draw.uniform(0.0, 1.0))
        code, _, err = end(process)
        assert "Traceback" not in err, err
        now = records(results)
        assert {identity: now[identity] for identity in kept} == kept, f"a finished run was lost or changed ({code})"
        kept = now
    return killed


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_control_c_ends_cleanly_says_how_to_go_on_and_ends_the_same(tmp_path, undisturbed, signum):
    suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
    process = start(suite, results)
    until(lambda: claimed(results))
    os.killpg(process.pid, signum)  # to every process, as a terminal sends the one and a service manager the other
    code, _, err = end(process, 60)
    assert code == 128 + signum
    assert "runs are done" in err
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    assert not re.search(r"exit code|signal \d", err)
    code, _, err = run(suite, results)
    assert code == 0, err
    assert scores(results) == undisturbed.scores
    assert board(suite, results) == undisturbed.board


def test_a_second_control_c_ends_at_once(tmp_path):
    suite, results = write_suite(tmp_path, steps=100_000), tmp_path / "results"
    process = start(suite, results)
    until(lambda: len(claimed(results)) == 2)
    stopped = workers(process)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)  # none of them hears the first one
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = end(process, 30)
    assert code == 130
    assert time.monotonic() - began < 8
    assert "stopped at once" in err
    assert not [pid for pid in stopped if os.path.exists(f"/proc/{pid}")]


def test_a_worker_that_stops_answering_ends_its_cell_and_lets_the_others_finish(tmp_path, undisturbed):
    suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
    process = start(suite, results, "--silence", "8")
    until(lambda: claimed(results))
    os.kill(workers(process)[0], signal.SIGSTOP)
    code, _, err = end(process)
    assert code == 1
    assert "no sign of life for 8 seconds" in err
    code, _, err = run(suite, results)
    assert code == 0, err
    assert scores(results) == undisturbed.scores
