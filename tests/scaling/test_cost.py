"""What the orchestration of runs costs beside the work in them."""

import multiprocessing
import statistics
import time

from work import run, write_spinning

from moebench.execution.processes import start, warm_up

RUNS, SECONDS, WORKERS = 200, 0.5, 2


def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


def slowness(rounds=10):
    """Wall time of processor time, of as many programs at once as there are workers: what the machine's others take."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=spin, args=(SECONDS * rounds,)) for _ in range(WORKERS)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (time.monotonic() - began) / (SECONDS * rounds)


def test_two_hundred_runs_of_half_a_second_end_within_1_3_of_the_ideal(tmp_path, measured):
    suite = write_spinning(tmp_path, runs=RUNS, seconds=SECONDS)
    before = slowness()
    ran = run(suite, tmp_path / "results", "--workers", str(WORKERS), "--no-mlflow")
    after = slowness()
    assert len(ran.ends) == RUNS - 1
    ratio = ran.seconds / (RUNS * SECONDS / WORKERS)
    print(f"{ratio:.3f} of the ideal; a processor second took {before:.3f} before and {after:.3f} s after")
    measured.cost("200 runs of 0.5 s on two workers, the whole command, of the ideal 50 s", ratio, "times", 1.3)
    assert ratio <= 1.3


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
    measured.cost("from asking for a run to its first line, after the first", cost, "ms", 100)
    assert cost < 100
