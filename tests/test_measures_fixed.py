"""One fixed expert, and who goes where, on a model whose answers are known by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from hand_made import Table, Toy, always, model_of, one_hots, own_expert, single_layer, split
from moebench.errors import UsageError
from moebench.hosts.host import Call
from moebench.measures import Subject
from moebench.measures.fixed import choices, fixed_expert
from moebench.tasks import get_task


def of(model, data, image=(1, 1, 3), classes=3):
    """The subject of a model and its test data."""
    task = Toy(image, classes, data)
    return Subject(model.eval(), task, None, torch.device("cpu"), "fp32", {})


def table(mass_of):
    """Expert e says class e; the head hands it on."""
    return single_layer(Table(mass_of, torch.eye(3)), image=(1, 1, 3), classes=3, head=torch.eye(3), grid=1)


def test_an_expert_for_each_class():
    scores = fixed_expert(of(table(own_expert), one_hots([0, 0, 0, 1, 1, 2], 3)))
    values = scores.values
    assert values["all"] == 1
    # An expert that is masked in leaves the others' inputs with no answer at all, which is class 0.
    assert [round(values[f"fixed {rank}"], 4) for rank in (1, 2, 3)] == [0.8333, 0.6667, 0.5]
    assert values["fixed"] == pytest.approx(2 / 3)
    assert [round(values[f"use {rank}"], 4) for rank in (1, 2, 3)] == [0.5, 0.3333, 0.1667]
    assert values["use_entropy"] == pytest.approx((np.log(2) / 2 + np.log(3) / 3 + np.log(6) / 6) / np.log(3))
    assert values["unused"] == 0
    assert scores.arrays["use_CE_0"].tolist() == np.eye(3).tolist()
    assert scores.arrays["right_CE"].tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 1]]


def test_a_collapsed_router():
    values = fixed_expert(of(table(always(0, 1, 0)), one_hots([0, 1, 1, 2], 3))).values
    assert (values["use 1"], values["use 2"], values["use_entropy"]) == (1, 0, 0)
    assert values["unused"] == pytest.approx(2 / 3)
    assert values["all"] == values["fixed 1"] == 0.5


class Says(nn.Module):
    """A router that knows one expert only."""

    def __init__(self, expert):
        super().__init__()
        self.expert = expert

    def forward(self, x_BTD):
        return 100 * nn.functional.one_hot(torch.full(x_BTD.shape[:2], self.expert), 4).float()


@pytest.mark.parametrize("name", ["block_moe", "conv_moe", "sparse_topk"])
def test_alone_an_expert_has_all_the_weight_whoever_comes(name):
    host = {"name": "resnet", "channels": [4, 6], "blocks": [1, 2], "replace": [2]}
    model = model_of(name, host=host, budget=40_000, task="cifar10", experts=4, top_k=1, renormalise=False).eval()
    data = split(torch.randn(40, 3, 32, 32), torch.arange(40) % 10)
    values = fixed_expert(of(model, data, (3, 32, 32), 10)).values
    (layer,), by_hand = model.layers(), []
    for expert in range(4):
        layer.router = Says(expert)
        by_hand.append(float((model.outputs(data.inputs)["class"].argmax(1) == data.targets["class"]).double().mean()))
    assert [values[f"fixed {rank}"] for rank in range(1, 5)] == sorted(by_hand, reverse=True)


def test_choices_count_what_was_chosen_not_its_weight():
    model = model_of("sparse_topk", experts=4, top_k=2).eval()
    data = get_task("digits").load("validation")
    data = data[:30]
    first, second = choices(model, data)
    assert first.shape == second.shape == (30, 4)
    assert first.sum(1).tolist() == [2.0 * 4] * 30
    call = Call()
    model.run(data.inputs, call)
    for e in range(4):
        assert torch.equal(first[:, e], (call.routings[0].chosen_BTK == e).sum((1, 2)).double())


def test_a_layer_that_is_not_sparse_shares_out_its_mass():
    model = model_of("soft_moe", experts=4).eval()
    data = split(get_task("digits").load("validation").inputs[:5], torch.zeros(5, dtype=torch.long))
    call = Call()
    model.run(data.inputs, call)
    assert torch.equal(choices(model, data)[0], call.routings[0].mass_BE.double())


def test_a_model_without_experts_is_refused():
    with pytest.raises(UsageError) as caught:
        fixed_expert(of(model_of("dense").eval(), one_hots([0], 3)))
    assert caught.value.code == "no-experts"
