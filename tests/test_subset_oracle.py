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
from moebench.measures.subset.oracle import PERMUTATIONS, oracle

C = 4
TOY = Toy((1, 1, C), C)
DATA = one_hots([1, 2, 3] * 20, C)  # class 0, which silence stands for, is never right


def hosted(layer):
    return single_layer(layer, image=(1, 1, C), classes=C, head=torch.eye(C), grid=1)


def test_experts_that_know_a_class_each_are_found():
    found = oracle(hosted(Table(own_expert, torch.eye(C))), TOY, DATA, 1)
    assert (found.share, found.subsets, found.inputs) == (1.0, 4, 60)
    assert found.null == pytest.approx(1 / 3, abs=0.1)  # an input's own class is the only one it can be given


def test_experts_that_ignore_the_input_find_any_label_and_so_does_the_null():
    found = oracle(hosted(Table(always(1.0, 1.0, 1.0, 1.0), torch.eye(C))), TOY, DATA, 1)
    assert (found.share, found.null) == (1.0, 1.0)


def test_all_experts_are_one_try():
    model, data = model_of("soft_moe"), digits("test", 50)
    found = oracle(model, DIGITS, data, 8)
    assert found.subsets == 1
    assert found.share == accuracy(answer(model, data).logits_NC, data.targets["class"])


@pytest.mark.parametrize("name", ["soft_moe", "sparse_topk"])
def test_it_agrees_with_every_subset_tried_by_itself_in_both_layers(name):
    model, data = model_of(name, experts=4).eval(), digits("test", 40)
    said = []
    for kept in itertools.combinations(range(4), 2):
        keep_BE = torch.tensor([e in kept for e in range(4)]).expand(40, -1)
        with torch.no_grad():
            said.append(model(data.inputs, select=lambda visit, keep=keep_BE: keep).outputs["class"].argmax(1))
    said_SN = torch.stack(said)
    found = oracle(model, DIGITS, data, 2, batch=17)
    assert found.subsets == 6
    assert found.share == float((said_SN == data.targets["class"]).any(0).double().mean())
    generator, by_chance = torch.Generator().manual_seed(0), []
    for _ in range(5):
        shuffled = data.targets["class"][torch.randperm(40, generator=generator)]
        by_chance.append(float((said_SN == shuffled).any(0).double().mean()))
    assert PERMUTATIONS == 5
    assert found.null == pytest.approx(sum(by_chance) / 5)
    assert found == oracle(model, DIGITS, data, 2)


def test_a_rule_reaches_the_layers():
    model, data = model_of("sparse_topk", experts=4), digits("test", 200)
    as_is, masked = (oracle(model, DIGITS, data, 1, rule=rule) for rule in ("as_is", "mask_logits"))
    assert as_is != masked


def test_too_many_subsets_are_refused_before_any_is_tried():
    layer = Table(lambda x_BTD: torch.ones(len(x_BTD), 16), torch.zeros(16, C))
    with pytest.raises(
        UsageError, match="8 of 16 experts make 12,870 subsets; the exhaustive search takes at most 2,000"
    ):
        oracle(hosted(layer), TOY, DATA, 8)
    assert layer.inputs_met == 0
    oracle(hosted(layer), TOY, DATA[:2], 3)
    assert layer.inputs_met == 2 * 560


@pytest.mark.parametrize("k", [0, 5])
def test_a_number_outside_1_to_e_is_refused(k):
    with pytest.raises(UsageError, match=f"{k} of 4 experts cannot be kept"):
        oracle(hosted(Table(own_expert, torch.eye(C))), TOY, DATA, k)


def test_a_model_without_experts_is_refused():
    with pytest.raises(UsageError, match="shows no experts"):
        oracle(hosted(Plain()), TOY, DATA, 1)
