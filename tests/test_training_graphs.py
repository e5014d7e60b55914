"""A captured step: the same digits as without a graph, and why one cannot be captured."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from hand_made import digits, model_of, recipe, train
from moebench.contract import Layer, Routing
from moebench.tasks import get_task
from moebench.training.graphs import CAPTURED, WARM, attributes, why_not
from moebench.training.ranks.world import ALONE, World
from replay import ReplayBackend

HOW = {"steps": 20, "lr": 3e-3, "weight_decay": 0.1}


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def both(name, /, change=lambda model: None, how=None, **settings):
    """A training without a graph and one with, of two models alike; and what captured."""
    how, found = recipe(**(how or HOW)), []
    for backend in (None, ReplayBackend()):
        model = model_of(name, **settings)
        change(model)
        found.append((model, train(model, digits("train", 200), how, graphs=backend)))
    return found, backend


@pytest.mark.parametrize(
    ("name", "settings", "how"),
    [
        ("dense", {}, {}),
        ("soft_moe", {"experts": 4}, {"micro_batch": 8}),
        ("mu_moe_cp", {}, {"optimiser": "adam"}),
    ],
)
def test_twenty_steps_have_the_same_digits(name, settings, how):
    ((eager, curves), (graphed, same)), backend = both(name, how=HOW | how, **settings)
    assert (same.graphs, backend.captured, curves.graphs) == (CAPTURED, 1, "")
    assert np.array_equal(curves.loss_S, same.loss_S)
    assert np.array_equal(curves.mass_SLE, same.mass_SLE)
    assert torch.equal(weights(eager), weights(graphed))
    assert len(set(same.loss_S.tolist())) == 20, "each step has inputs of its own"


def test_noise_is_drawn_anew_at_each_replay():
    ((eager, _), (graphed, same)), _ = both("soft_moe", lambda model: insert(model, Noisy), experts=4)
    assert same.graphs == CAPTURED
    assert torch.equal(weights(eager), weights(graphed))


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("name", ["soft_moe", "topk_qb", "expert_threshold"])
def test_a_step_that_waits_goes_on_without_a_graph_and_says_why(where, name):
    """Two of these layers keep tensors of a step's tokens in Python's lists."""
    layer = {"forward": Waiting, "backward": WaitingInBackward}[where]
    ((eager, curves), (graphed, same)), backend = both(name, lambda model: insert(model, layer), experts=4)
    assert same.graphs.startswith("not captured: ")
    assert "waits" in same.graphs
    assert backend.captured == 1, "it is not tried twice"
    assert np.array_equal(curves.loss_S, same.loss_S)
    assert torch.equal(weights(eager), weights(graphed))


def test_a_step_that_is_seen_to_wait_is_not_captured():
    """Only the last step before it counts: those before may load a library."""
    steps = []

    class Seen(ReplayBackend):
        def warm(self):
            steps.append(["mine.py:7"] if len(steps) != 1 else [])
            return nullcontext(steps[-1])

    model, backend = model_of("soft_moe", experts=4), Seen()
    curves = train(model, digits("train", 200), recipe(**HOW), graphs=backend)
    assert curves.graphs == "not captured: it waits for the device at mine.py:7"
    assert (backend.captured, len(steps)) == (0, WARM)


def test_what_modules_hold_is_put_back():
    inner, kept = nn.Linear(2, 2), {"a": [1, {2}], "b": deque([3])}
    inner.kept, weight = kept, inner.weight
    handle = inner.register_forward_hook(lambda *call: None)
    put_back = attributes(nn.Sequential(inner))
    inner.weight, inner.other, inner.kept = nn.Parameter(torch.zeros(2, 2)), 1, {}
    kept["a"][1].add(5)
    kept["b"].append(4)
    kept.pop("a")
    put_back()
    assert inner.kept is kept
    assert kept == {"a": [1, {2}], "b": deque([3])}
    assert inner.weight is weight
    assert not hasattr(inner, "other")
    handle.remove()
    assert not inner._forward_hooks


@pytest.mark.parametrize("kind", ["counts in Python", "replaces a buffer"])
def test_what_a_graph_would_freeze_is_not_captured(kind):
    layer = {"counts in Python": Counting, "replaces a buffer": Replacing}[kind]
    ((eager, curves), (graphed, same)), backend = both("soft_moe", lambda model: insert(model, layer), experts=4)
    assert same.graphs.startswith("not captured: ")
    assert backend.captured == 0
    assert np.array_equal(curves.loss_S, same.loss_S)
    assert torch.equal(weights(eager), weights(graphed))


def test_what_is_captured_at_all():
    cuda, data, how = torch.device("cuda"), digits("train", 20), recipe()
    assert why_not(data, how, ALONE, cuda) == ""
    assert "GPU" in why_not(data, how, ALONE, torch.device("cpu"))
    assert "ranks" in why_not(data, how, World(), cuda)
    assert "drawn" in why_not(data, recipe(augment="crop"), ALONE, cuda)
    assert "drawn" in why_not(get_task("norm").load("train"), how, ALONE, cuda)
    assert WARM < 20


class Wrapped(Layer):
    """Another layer, and something beside it in training."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.steps, self.scale = inner, 0, 1.0
        self.register_buffer("total", torch.zeros(()))

    @property
    def num_experts(self):
        return self.inner.num_experts

    def route(self, x_BTD, context) -> Routing:
        return self.inner.route(x_BTD, context)

    def compute(self, x_BTD, routing, keep_BE=None):
        y_BTD = self.inner.compute(x_BTD, routing, keep_BE)
        return self.beside(y_BTD) if self.training else y_BTD

    def after_step(self):
        self.inner.after_step()

    def beside(self, y_BTD):
        return y_BTD


class Noisy(Wrapped):
    def beside(self, y_BTD):
        return y_BTD + 0.1 * torch.randn_like(y_BTD)


class Waiting(Wrapped):
    def beside(self, y_BTD):
        return y_BTD * (2.0 if float(y_BTD.detach().sum()) > 0 else 1.0)


class WaitingInBackward(Wrapped):
    """The head has its gradient by then."""

    def beside(self, y_BTD):
        y_BTD.register_hook(lambda grad_BTD: grad_BTD * (2.0 if float(grad_BTD.sum()) > 0 else 1.0))
        return y_BTD


class Counting(Wrapped):
    def after_step(self):
        self.scale *= 0.9

    def beside(self, y_BTD):
        return y_BTD * self.scale


class Replacing(Wrapped):
    def after_step(self):
        self.total = self.total + 1

    def beside(self, y_BTD):
        return y_BTD * (1 + self.total)


def insert(model, layer):
    """Wrap every layer."""
    for site in model._sites():
        site.layer = layer(site.layer)
