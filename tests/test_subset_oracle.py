"""The exhaustive best subset, with the label known, and what the same search finds for shuffled labels."""

import itertools

import pytest
import torch

from hand_made import (
    DIGITS,
    Plain,
    Table,
    Toy,
    accuracy,
    always,
    answer,
    digits,
    model_of,
    one_hots,
    own_expert,
    single_layer,
)
from moebench.errors import UsageError
from moebench.measures.oracle import PERMUTATIONS, oracle

C = 4
TOY = Toy((1, 1, C), C)
DATA = one_hots([1, 2, 3] * 20, C)  # class 0, which silence stands for, is never right


def hosted(layer):
    return single_layer(layer, image=(1, 1, C), classes=C, head=torch.eye(C), grid=1)


def test_experts_that_know_a_class_each_are_found():
    share, null = oracle(hosted(Table(own_expert, torch.eye(C))), TOY, DATA, 1)
    assert share == 1
    assert null == pytest.approx(1 / 3, abs=0.1)  # an input's own class is the only one it can be given


def test_experts_that_ignore_the_input_find_any_label_and_so_does_the_null():
    assert oracle(hosted(Table(always(1.0, 1.0, 1.0, 1.0), torch.eye(C))), TOY, DATA, 1) == (1.0, 1.0)


def test_all_experts_are_one_try():
    model, data = model_of("soft_moe"), digits("test", 50)
    assert oracle(model, DIGITS, data, 8)[0] == accuracy(answer(model, data).logits_NC, data.targets["class"])


@pytest.mark.parametrize("name", ["soft_moe", "sparse_topk"])
def test_it_agrees_with_every_subset_tried_alone_in_both_layers(name):
    model, data = model_of(name, experts=4).eval(), digits("test", 40)
    answers = []
    for kept in itertools.combinations(range(4), 2):
        keep_BE = torch.tensor([e in kept for e in range(4)]).expand(40, -1)
        with torch.no_grad():
            answers.append(model(data.inputs, select=lambda visit, keep=keep_BE: keep).outputs["class"].argmax(1))
    answer_SN = torch.stack(answers)
    share, null = oracle(model, DIGITS, data, 2)
    assert share == float((answer_SN == data.targets["class"]).any(0).double().mean())
    generator, by_chance = torch.Generator().manual_seed(0), []
    for _ in range(5):
        shuffled = data.targets["class"][torch.randperm(40, generator=generator)]
        by_chance.append(float((answer_SN == shuffled).any(0).double().mean()))
    assert PERMUTATIONS == 5
    assert null == pytest.approx(sum(by_chance) / 5)


def test_too_many_subsets_are_refused_before_any_is_tried():
    layer = Table(lambda x_BTD: torch.ones(len(x_BTD), 16), torch.zeros(16, C))
    with pytest.raises(UsageError) as caught:
        oracle(hosted(layer), TOY, DATA, 8)
    assert (caught.value.code, caught.value.facts["subsets"]) == ("too-many-subsets", 12_870)
    assert layer.inputs_met == 0
    oracle(hosted(layer), TOY, DATA[:2], 3)
    assert layer.inputs_met == 2 * 560


def test_a_model_without_experts_is_refused():
    with pytest.raises(UsageError) as caught:
        oracle(hosted(Plain()), TOY, DATA, 1)
    assert caught.value.code == "no-experts"
