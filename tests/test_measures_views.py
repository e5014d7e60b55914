"""The anomalies of HoME: numbers worked by hand, and what is null."""

import pytest
import torch

from moebench.hosts.build import build_model
from moebench.hosts.registry import host_settings
from moebench.measures.subject import Subject
from moebench.measures.views import degradation, underfitting, views
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.tasks import get_task


def test_degradation_by_hand():
    # The first expert is used by one view alone, though both could; the second alike; the third is one view's own.
    weight_VE = torch.tensor([[1.0, 0.5, 0.3], [1e-12, 0.5, 0.0]])
    assert degradation(weight_VE) == pytest.approx((1 + 0) / 2)
    # Of 3 views: (3 x 2/3 - 1) / 2.
    assert degradation(torch.tensor([[0.4], [0.1], [0.1]])) == pytest.approx(0.5)
    assert degradation(torch.eye(2)) is None


def test_underfitting_by_hand():
    # Expert 0 is the first view's own, expert 2 the second's; expert 1 is shared: an even share of own ones is 1/2.
    weight_VE = torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.3, 0.7]])
    assert underfitting(weight_VE) == pytest.approx(((1 - 0.1 / 0.5) + 0) / 2)
    assert underfitting(torch.tensor([[0.5, 0.5], [0.5, 0.5]])) is None


def measured(name, settings):
    task = get_task("correlated")
    host = host_settings({"name": "tabular", "dim": 8})
    variant = load_variant(find_variant(name))
    model = build_model(host, task.info, variant, [4], settings, seed=0).eval()
    return views(Subject(model, task, None, torch.device("cpu"), "fp32", {})), model


@pytest.mark.parametrize(
    ("name", "settings", "null"),
    [
        ("dense", {}, {"degradation", "underfitting", "zero_activations", "collapsed"}),
        ("mmoe", {"experts": 4}, {"underfitting"}),
        ("ple", {}, set()),
        ("ple", {"levels": 2}, set()),
        ("home", {}, set()),
        ("home", {"hierarchy": False}, set()),
    ],
)
def test_what_is_measured_of_each_layer(name, settings, null):
    scores, model = measured(name, settings)
    assert {score for score, value in scores.values.items() if value is None} == null == set(scores.reasons)
    if name != "dense":
        assert scores.arrays["gate_VE_0"].shape == (2, model.layers()[0].num_experts)
        assert 0.2 < scores.values["zero_activations"] < 0.8


def test_dead_experts_are_counted():
    task, host = get_task("correlated"), host_settings({"name": "tabular", "dim": 8})
    model = build_model(host, task.info, load_variant(find_variant("mmoe")), [4], {"experts": 4}, seed=0).eval()
    with torch.no_grad():
        model.layers()[0].experts.b_in_EH[0] = -100.0
    found = views(Subject(model, task, None, torch.device("cpu"), "fp32", {})).values
    assert found["collapsed"] == 0.25
