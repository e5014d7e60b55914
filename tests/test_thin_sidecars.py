"""A suite may keep the load of experts of a few steps alone; and its record says whether steps were CUDA graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moebench.mlflow_store.curves import training_curves
from moebench.records import Store
from moebench.training.curve import thin_mass
from tiny import run_tiny, write_suite


def test_shares_of_every_20th_step():
    mass_SLE = np.zeros((45, 2, 4), dtype=np.float32)
    mass_SLE[:, 0] = [[step, 3 * step, 0, 100_000] for step in range(45)]
    thin = thin_mass(mass_SLE)
    assert (thin.shape, thin.dtype) == ((3, 2, 4), np.float16)
    assert thin[:, 0].sum(1) == pytest.approx(1, abs=1e-3)
    assert thin[2, 0, 1] / thin[2, 0, 0] == pytest.approx(3, rel=1e-2)
    assert not thin[:, 1].any(), "a layer without mass"


def test_curves_of_thin_sidecars_are_at_their_steps():
    mass_SLE = np.random.default_rng(0).uniform(9, 11, (400, 1, 4)).astype(np.float32)
    mass_SLE[:, 0, 0] += np.arange(400) / 10
    loss_S = np.ones(400, dtype=np.float32)
    whole = training_curves({"loss_S": loss_S, "mass_SLE": mass_SLE}, "nats")["train_load_entropy"]
    thin = training_curves({"loss_S": loss_S, "mass_SLE": thin_mass(mass_SLE)}, "nats")["train_load_entropy"]
    assert [step for step, _ in thin] == list(range(20, 401, 20))
    assert whole[-1][0] == 400
    assert abs(thin[0][1] - whole[4][1]) < 0.03
    assert abs(thin[-1][1] - whole[-1][1]) < 0.03 < thin[0][1] - thin[-1][1]
    uneven = training_curves({"loss_S": loss_S[:390], "mass_SLE": thin_mass(mass_SLE[:390])}, "nats")
    assert uneven["train_load_entropy"][-1][0] == 390


def test_a_run_keeps_what_its_suite_asks_for(tmp_path: Path):
    suite = Path(write_suite(tmp_path, steps=30))
    text = suite.read_text().replace("seeds = 2", "seeds = 2\nthin_sidecars = true")
    suite.write_text(text.replace("batch = 32", "batch = 32\ngraphs = true"))
    run_tiny(str(suite), tmp_path / "results", variants=["soft_moe"], seeds=1, trials=1)
    store = Store(tmp_path / "results")
    kinds = {}
    for record in store.records():
        if record.cell["variant"] == "soft_moe":
            kinds[record.cell["kind"]] = store.arrays(record.identity)
            assert record.provenance["graphs"] == "the device is no GPU"
    assert "mass_SLE" not in kinds["trial"]
    assert (kinds["final"]["mass_SLE"].shape, kinds["final"]["mass_SLE"].dtype) == ((2, 1, 8), np.float16)
    assert len(kinds["trial"]["loss_S"]) == len(kinds["final"]["loss_S"]) == 30
