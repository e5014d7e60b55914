"""Route regret: what is drawn, that a choice without content has none, and that one which decides the answer has."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from moebench.contract import Routing
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.host import Call
from moebench.measures.route_regret import random_routes, redrawn, route_regret
from moebench.measures.subject import Subject
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.tasks import get_task
from moebench.training.evaluate import asking, run_pass

HOST = {"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 4}


class Judged(Subject):
    """What the model itself answers is right."""

    def data(self, part):
        test = super().data(part)[:96]
        with asking(self.model):
            answer = run_pass(self.model, test, "fp32", Call())["class"].argmax(-1)
        return dataclasses.replace(test, targets={"class": answer})


def subject_of(name, settings):
    task, host = get_task("digits"), host_settings(HOST)
    torch.manual_seed(0)
    variant, model = load_variant(find_variant(name)), host.build(task.info)
    model.attach([variant.layer(shape, 8, settings) for shape in layer_shapes(host, task.info)])
    return Judged(model.eval(), task, None, torch.device("cpu"), "fp32", {})


def test_other_experts_get_the_same_weights_each_once():
    chosen = torch.tensor([[[0, 1, 2], [3, 1, 0]]])
    weight = torch.tensor([[[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]]])
    kept = weight > 0
    routing = Routing.sparse(chosen, weight, experts=8, kept_BTK=kept)
    found = redrawn(routing, torch.Generator().manual_seed(0))
    assert found.weight_BTK is weight
    assert found.kept_BTK is kept
    assert all(len(set(row)) == 3 and max(row) < 8 for row in found.chosen_BTK[0].tolist())
    again = redrawn(routing, torch.Generator().manual_seed(0))
    assert torch.equal(again.chosen_BTK, found.chosen_BTK)
    assert found.load_BE.sum() == 5


def test_where_experts_choose_other_tokens_are_taken():
    routing = Routing.by_expert(torch.tensor([[[0, 1], [0, 1]]]), torch.ones(1, 2, 2), tokens=6)
    found = redrawn(routing, torch.Generator().manual_seed(1))
    assert all(len(set(row)) == 2 for row in found.taken_BEc[0].tolist())
    soft = Routing.soft(torch.ones(1, 2, 3))
    assert redrawn(soft, torch.Generator()) is soft


@pytest.mark.parametrize("name", ["sparse_topk", "deepseek", "expert_choice", "random_detached", "hash_position"])
def test_every_sparse_row_has_a_regret_where_the_choice_decides(name):
    scores = route_regret(subject_of(name, {"experts": 8}), draws=3).values
    assert scores["regret_accuracy"] > 0
    assert scores["regret_accuracy layer 1"] >= 0
    assert {"regret_nats", "regret_nats layer 1", "regret_nats layer 2"} <= scores.keys()


def test_a_choice_among_equal_experts_carries_nothing():
    subject = subject_of("sparse_topk", {"experts": 8})
    for layer in subject.model.layers():
        parameters = dict(layer.named_parameters())
        for each, axis in layer.expert_parameters().items():
            stack = parameters[each].data.movedim(axis, 0)
            stack.copy_(stack[:1].expand_as(stack).clone())
    scores = route_regret(subject, draws=2).values
    assert scores["regret_accuracy"] == 0
    assert scores["regret_nats"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["dense", "soft_moe"])
def test_without_choices_there_is_none_and_the_reason(name):
    settings = {"experts": 8} if name == "soft_moe" else {}
    scores = route_regret(subject_of(name, settings))
    assert scores.values == {"regret_nats": None, "regret_accuracy": None}
    assert set(scores.reasons) == set(scores.values)


def test_only_the_layers_that_are_named_are_drawn_anew():
    subject = subject_of("sparse_topk", {"experts": 8})
    data = subject.data("test")
    seen = {}
    for layers in ([], [0], [1]):
        with asking(subject.model):
            seen[tuple(layers)] = run_pass(subject.model, data, "fp32", Call(reroute=random_routes(layers, 0)))["class"]
    with asking(subject.model):
        own = run_pass(subject.model, data, "fp32", Call())["class"]
    assert torch.equal(seen[()], own)
    assert not torch.equal(seen[0,], own)
    assert not torch.equal(seen[0,], seen[1,])
