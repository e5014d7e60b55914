"""The thin curve of a training: its points, its cost, and that watching changes nothing."""

import json

import numpy as np
import pytest
import torch

from hand_made import DIGITS, digits, model_of, recipe, train
from moebench.mlflow_store.content import CurvePoint, Times
from moebench.mlflow_store.curves import curve_points
from moebench.records import Record, Store, schema
from moebench.training.curve import POINTS, thin_curve, watched_inputs, windows
from moebench.training.evaluate import mean_loss


def test_the_points_are_means_since_the_one_before():
    loss_S = np.arange(40, dtype=np.float32)
    curve = thin_curve(loss_S, None, 40)
    assert curve["steps"] == [*range(2, 41, 2)]
    assert curve["train_loss"] == [0.5 + 2 * n for n in range(20)]
    assert "validation_loss" not in curve


def test_a_short_training_has_a_point_for_each_step():
    watched_S = np.array([9.0, 8.0, 7.0], dtype=np.float32)
    curve = thin_curve(np.array([3.0, 2.0, 1.0], dtype=np.float32), watched_S, 3)
    assert curve == {"steps": [1, 2, 3], "train_loss": [3.0, 2.0, 1.0], "validation_loss": [9.0, 8.0, 7.0]}


def test_what_ended_early_has_the_points_it_reached_and_no_number_where_there_is_none():
    loss_S = np.array([1.0] * 9 + [np.nan], dtype=np.float32)
    curve = thin_curve(loss_S, np.full(10, np.nan, dtype=np.float32), 40)
    assert curve["steps"] == [2, 4, 6, 8, 10]
    assert curve["train_loss"] == [1.0, 1.0, 1.0, 1.0, None]
    assert curve["validation_loss"] == [None] * 5
    json.dumps(curve, allow_nan=False)


@pytest.mark.parametrize("steps", [1, 7, 20, 33, 9600])
def test_there_are_at_most_twenty_windows_and_they_cover_all_steps(steps):
    edges = windows(steps, POINTS)
    assert len(edges) == min(POINTS, steps) + 1
    assert (edges[0], edges[-1]) == (0, steps)
    lengths = np.diff(edges)
    assert lengths.max() - lengths.min() <= 1


@pytest.mark.parametrize(("inputs", "steps", "batch"), [(5000, 600, 128), (360, 300, 64), (5000, 9600, 128)])
def test_the_validation_points_cost_under_three_percent_of_the_passes_of_a_training(inputs, steps, batch):
    passes = POINTS * watched_inputs(inputs, steps, batch)
    assert passes < 0.03 * 3 * steps * batch
    assert watched_inputs(inputs, steps, batch) <= 1024


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sparse_topk", {"noise_std": 1.0, "loss/load": 0.01}),
        ("deepseek", {"experts": 8, "bias_rate": 0.1, "budget": 20_000}),
        ("soft_moe", {}),
        ("modse", {"noise_std": 1.0}),
    ],
)
def test_watching_changes_no_step_and_no_random_state(name, settings):
    """Noise in training, and a bias that counts choices, would show a single draw or pass too many."""
    how, data, part = recipe(steps=24, loss_weights={"balance": 0.1}), digits("train", 90), digits("validation", 20)
    plain, watched = (model_of(name, **settings) for _ in range(2))
    without = train(plain, data, how)
    states = [torch.get_rng_state()]
    curves = train(watched, data, how, watch=lambda: mean_loss(watched, DIGITS, part))
    states.append(torch.get_rng_state())
    assert np.array_equal(without.loss_S, curves.loss_S)
    assert torch.equal(*states)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), watched.state_dict().values(), strict=True)
    )
    assert without.validation_S is None
    assert np.isfinite(curves.validation_S).sum() == 20
    assert curves.validation_S[-1] == pytest.approx(float(mean_loss(watched, DIGITS, part)))


def test_the_mean_loss_is_that_of_one_batch():
    model, part = model_of("dense").eval(), digits("validation", 300)
    with torch.no_grad():
        whole = DIGITS.loss(model.outputs(part.inputs), part)
    assert float(mean_loss(model, DIGITS, part)) == pytest.approx(float(whole), rel=1e-5)


def test_mlflow_has_the_thin_curve_where_there_is_no_sidecar(tmp_path):
    curve = {"steps": [1, 2], "train_loss": [1.0, None], "validation_loss": [0.5, 0.25]}
    points = curve_points(record({"curve": curve}), Store(tmp_path), Times(1000, 3000))
    assert points == (
        CurvePoint("train_loss_nats", 1, 1.0, 2000),
        CurvePoint("curve_validation_loss_nats", 1, 0.5, 2000),
        CurvePoint("curve_validation_loss_nats", 2, 0.25, 3000),
    )
    assert curve_points(record({}), Store(tmp_path), Times(1000, 3000)) == ()


def record(details):
    cell = {
        **{"kind": "trial", "protocol": "1", "task": "digits", "data_digest": "d", "split": "s", "host": {}},
        **{"variant": "dense", "code_digest": "c", "settings": {}, "axis": "total", "budget": 1, "seed": 1, "steps": 1},
        **{"batch": 1, "micro_batch": None, "precision": "fp32", "threads": 1},
    }
    return Record(identity="0" * 20, cell=cell, status="done", details=details)


def test_a_record_holds_a_curve_and_refuses_one_that_is_none():
    curve = {"steps": [1, 2], "train_loss": [1.0, None], "validation_loss": [0.5, 0.25]}
    assert record({"curve": curve}).details["curve"] == curve
    assert record({}).details == {}, "as records older than curves"
    with pytest.raises(ValueError, match="curve"):
        record({"curve": {"steps": ["one"]}})
    assert "curve" in schema.schema_of(1)["properties"]["details"]["properties"]
