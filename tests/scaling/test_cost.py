"""What the orchestration of runs costs beside the work in them."""

import statistics
import time

from measured import Cost
from work import run, write_spinning

from moebench.processes import start, warm_up

RUNS, SECONDS, WORKERS = 200, 0.5, 2


def test_two_hundred_runs_of_half_a_second_end_within_1_3_of_the_ideal(tmp_path, measured):
    """The ideal is the runs' own time, shared evenly; the command starts, plans, measures latency, makes a board."""
    suite = write_spinning(tmp_path, runs=RUNS, seconds=SECONDS)
    ran = run(suite, tmp_path / "results", "--workers", str(WORKERS), "--no-mlflow")
    assert len(ran.ends) == RUNS - 1
    assert ran.work / RUNS > SECONDS
    ideal = ran.work / WORKERS
    print(f"{ran.seconds:.1f} s, ideal {ideal:.1f} s; a run {ran.work / RUNS:.3f} s")
    what = f"{RUNS} runs of {ran.work / RUNS:.2f} s on two workers, the whole command, of the ideal {ideal:.1f} s"
    measured.costs.append(Cost(what, ran.seconds / ideal, "times", 1.3))
    assert ran.seconds <= 1.3 * ideal


def note(path, _):
    path.write_text(str(time.time()))


def test_starting_a_run_costs_less_than_100_ms_after_the_first(tmp_path, measured):
    warm_up()
    costs = []
    for number in range(21):
        began, path = time.time(), tmp_path / f"{number}"
        process = start(note, path, None, log=tmp_path / "log")
        process.join()
        costs.append(1e3 * (float(path.read_text()) - began))
    cost = statistics.median(costs[1:])
    print(f"{cost:.1f} ms; the slowest {max(costs[1:]):.1f}, the first {costs[0]:.1f}")
    measured.costs.append(Cost("from asking for a run to its first line, after the first", cost, "ms", 100))
    assert cost < 100
