"""A board of hundreds of rows from thousands of records, made without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boards import Bench, hand_plan


def many_rows(root: Path, rows: int, *, seeds: int = 8, trials: int = 4) -> Bench:
    """``rows`` rows of one task, each with its trials, finals and timings: about (seeds + trials) x rows records."""
    rng = np.random.default_rng(0)
    names = ["dense", *(f"variant_{index:03}" for index in range(1, rows))]
    bench = Bench(root, hand_plan(variants=names, seeds=seeds, trials=trials))
    for name in names:
        level = rng.uniform(0.90, 0.97)
        special = None if name == "dense" else tuple(rng.uniform(0.1, 0.3, seeds).tolist())
        bench.fill(name, tuple((level + rng.normal(0, 0.004, seeds)).tolist()), specialization=special)
    bench.time({name: float(rng.uniform(0.8, 4.0)) for name in names})
    return bench
