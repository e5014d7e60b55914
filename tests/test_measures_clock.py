"""Time and memory of a stretch of work."""

import sys

import pytest
import torch

from moebench.measures import clock
from moebench.measures.clock import WARM_UP, Spread, in_turns, median_ms, repeat_to, spread
from moebench.measures.memory import PeakMemory
from moebench.measures.roofline import Roofline, measure_roofline

CPU = torch.device("cpu")


class Ticking:
    """A clock that stands still but for what a part says it took, in milliseconds."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(clock.time, "perf_counter", lambda: self.now)

    def part(self, *times_ms, called=None, name=""):
        times = iter(times_ms)

        def work():
            self.now += next(times) / 1e3
            if called is not None:
                called.append(name)

        return work


def test_a_median_is_of_its_calls(monkeypatch):
    assert median_ms(Ticking(monkeypatch).part(3, 100, 1), CPU, 3) == pytest.approx(3)


def test_rivals_take_turns_a_b_c_c_b_a_after_a_warm_up(monkeypatch):
    called, ticking = [], Ticking(monkeypatch)
    parts = {name: ticking.part(*[1] * 99, called=called, name=name) for name in "abc"}
    in_turns(parts, CPU, rounds=3, repeats=2)
    warm_up, rounds = called[: 3 * WARM_UP], called[3 * WARM_UP :]
    assert sorted(warm_up) == sorted("abc" * WARM_UP)
    assert "".join(rounds) == "aabbcc" + "ccbbaa" + "aabbcc"


def test_the_warm_up_does_not_count_and_a_round_is_the_median_of_its_calls(monkeypatch):
    part = Ticking(monkeypatch).part(*[1000] * WARM_UP, 1, 2, 300, 4, 5, 600, 6, 7, 900)
    found = in_turns({"a": part}, CPU, rounds=3, repeats=3)["a"]
    assert (found.low, found.median, found.high) == pytest.approx((3.5, 5, 6))


def test_a_spread_is_the_median_and_the_quartiles():
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(3, 2, 4)
    assert spread([7.0]) == Spread(7, 7, 7)


def test_a_batch_is_filled_from_the_beginning():
    tensor = torch.arange(3)
    assert repeat_to(tensor, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert repeat_to(tensor, 2).tolist() == [0, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the peak of a process")
def test_memory_that_was_given_back_counts_in_the_peak():
    with PeakMemory(CPU) as peak:
        torch.ones(64 * 2**18).sum()  # 64 MiB
    assert 60 < peak.mib < 90


def test_the_roofline_is_the_slower_of_its_two_limits():
    machine = Roofline(flops=1e9, bytes=1e6)
    assert machine.bound_ms(2e9, 1e6) == pytest.approx(2000)
    assert machine.bound_ms(1e8, 5e6) == pytest.approx(5000)


def test_nothing_that_is_measured_here_is_faster_than_the_roofline():
    a, b = torch.ones(1024, 1024), torch.ones(1024, 1024)
    ways = [lambda: a @ b]
    if torch.backends.mkldnn.is_available():
        a_own, b_own = a.to_mkldnn(), b.to_mkldnn()
        ways.append(lambda: torch.nn.functional.linear(a_own, b_own))
    fastest = min(spread([median_ms(way, CPU, 3) for _ in range(3)]).median for way in ways)
    assert measure_roofline(CPU).bound_ms(2 * 1024**3, 0) < 1.5 * fastest
