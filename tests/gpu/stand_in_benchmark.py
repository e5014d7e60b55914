"""The part of pytest-benchmark that tests/perf uses, for machines without it: ``-p stand_in_benchmark``."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest


class Benchmark:
    """Times rounds of a call."""

    def __init__(self):
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[]))

    def pedantic(self, target, *, setup, rounds, warmup_rounds, iterations):
        """Rounds in turn with ``setup``; those of the warm-up do not count."""
        for index in range(warmup_rounds + rounds):
            setup()
            start = time.perf_counter()
            for _ in range(iterations):
                target()
            if index >= warmup_rounds:
                self.stats.stats.data.append((time.perf_counter() - start) / iterations)


@pytest.fixture
def benchmark():
    """What tests ask for by this name."""
    return Benchmark()
