"""Specialization: its three tests, its nulls with their reasons, and the numbers beside it."""

import pytest
import torch
from torch import nn

from hand_made import (
    DIGITS,
    Plain,
    Table,
    Toy,
    always,
    digits,
    model_of,
    one_hots,
    own_expert,
    recipe,
    single_layer,
    split,
    train,
)
from moebench.measures.scores.final import scores_of
from moebench.measures.scores.shares import LEAST_DEPENDENCE, SHARES
from moebench.measures.scores.specialization import specialization
from moebench.measures.subset.scores import mean_mass
from moebench.training.evaluate import evaluate_task

C = 8
TOY = Toy((1, 1, C), C)
BALANCED = one_hots(list(range(C)) * 20, C)


def hosted(layer, **settings):
    """The layer between a one-hot image and a head that reads its output as the logits."""
    return single_layer(layer, image=(1, 1, C), classes=C, head=torch.eye(C), grid=1, **settings)


def measured(model, test=BALANCED, validation=BALANCED, task=TOY):
    on_test, on_validation = (evaluate_task(model, task, data) for data in (test, validation))
    return specialization(model, task, test, on_test, mean_mass(on_validation))


def oracle():
    """Expert e alone knows class e, and an input goes to its own."""
    return Table(own_expert, torch.eye(C))


def oracle_among_common_experts():
    """Experts 0 to 7 as in the oracle; experts 8 to 15 get most of the mass of every input and say nothing."""

    def mass_of(x_BTD):
        return torch.cat([x_BTD[:, 0], torch.full((len(x_BTD), C), 0.9)], 1)

    return Table(mass_of, torch.cat([torch.eye(C), torch.zeros(C, C)]))


def test_a_layer_collapsed_by_hand_scores_0():
    """One expert does all the work. Random subsets miss it, so that the paper's gap would be 0.71."""
    found = measured(hosted(Table(always(1, 0, 0, 0, 0, 0, 0, 0), torch.zeros(C, C), echo=1.0)))
    assert found.value == 0
    all_minus_none = found.scores["accuracy_all_experts"] - found.scores["accuracy_no_experts"]
    assert all_minus_none == 1 - 1 / C
    assert found.scores["paper_gap"] / all_minus_none == pytest.approx(0.708, abs=0.03)
    assert found.scores["experts_gain"] == all_minus_none
    assert found.scores["selection_gain"] == 0


@pytest.mark.parametrize("name", ["soft_moe", "sparse_topk"])
def test_a_trained_layer_with_a_collapsed_router_scores_0(name):
    model = model_of(name, host={"name": "single_layer", "grid": 2})
    for parameter in model.layers()[0].router.parameters():
        nn.init.zeros_(parameter).requires_grad_(False)
    train(model, digits("train"), recipe(steps=120, batch=64, lr=1e-2))
    found = measured(model, digits("test"), digits("validation"), DIGITS)
    assert found.scores["accuracy_all_experts"] - found.scores["accuracy_no_experts"] > 0.3
    assert found.value == 0


def test_an_oracle_scores_at_least_nine_tenths():
    found = measured(hosted(oracle_among_common_experts()))
    assert found.value >= 0.9
    assert [found.scores[f"accuracy_selected_1_{n}"] for n in (8, 4, 2)] == [1, 1, 1]
    assert [found.scores[f"accuracy_static_1_{n}"] for n in (8, 4, 2)] == [1 / C] * 3


def test_eight_experts_of_eight_classes_by_hand():
    """Static halves, quarters and eighths serve as many classes: (7/8 + 6/8 + 4/8) / 3 over 7/8."""
    found = measured(hosted(oracle()))
    assert found.value == pytest.approx(17 / 21)
    assert [found.scores[f"accuracy_static_1_{n}"] for n in (8, 4, 2)] == [1 / 8, 2 / 8, 4 / 8]


def test_a_host_that_ignores_its_layer_gives_null_with_its_reason():
    found = measured(hosted(Table(own_expert, torch.zeros(C, C)), residual=True))
    assert found.value is None
    assert found.reason == "the host does not depend on its experts (all 1.000, none 1.000)"
    assert found.scores["accuracy_selected_1_8"] == 1


@pytest.mark.parametrize(
    "mass", [(8, 7, 6, 5, 4, 3, 2, 1), (1, 1, 1, 1, 1, 1, 1, 1), (0.1, 0.3, 0.2, 0.9, 0.1, 0.3, 0.2, 0.9)]
)
def test_a_choice_that_does_not_depend_on_the_input_scores_0(mass):
    found = measured(hosted(Table(always(*mass), torch.eye(C), echo=torch.arange(8.0))))
    assert found.value == 0


@pytest.mark.parametrize("experts", [4, 12])
def test_a_number_of_experts_without_eighths_gives_null_with_its_reason(experts):
    layer = Table(lambda x_BTD: torch.ones(len(x_BTD), experts), torch.zeros(experts, C), echo=1.0)
    found = measured(hosted(layer))
    assert found.value is None
    assert found.reason == f"{experts} experts; it needs at least 8, in multiples of 8"
    assert found.scores == {"accuracy_all_experts": 1.0, "accuracy_no_experts": 1 / C, "experts_gain": 1 - 1 / C}


def test_no_experts_give_null():
    found = measured(hosted(Plain()))
    assert (found.value, found.reason, found.scores) == (None, "no experts", {})


def dependent_share(share, inputs):
    """Inputs of class 0, right without any expert, and a share of class 1, right only with its expert."""
    ones = round(share * inputs)
    return one_hots([1] * ones + [0] * (inputs - ones), C)


@pytest.mark.parametrize(
    ("share", "inputs", "enough"), [(0.04, 5000, False), (0.06, 5000, True), (0.2, 30, False), (0.2, 300, True)]
)
def test_too_little_dependence_or_too_few_inputs_to_see_it_give_null(share, inputs, enough):
    data = dependent_share(share, inputs)
    found = measured(hosted(oracle()), data, data)
    assert (found.value is not None) == enough
    assert LEAST_DEPENDENCE == 0.05


def test_static_experts_are_fitted_on_validation_and_not_on_test():
    """On validation expert 3 is the busiest, on test expert 5."""
    validation, test = one_hots([3] * 9 + list(range(C)), C), one_hots([5] * 9 + list(range(C)), C)
    scores = scores_of(hosted(oracle()), TOY, validation, test, "fp32").values
    assert scores["accuracy_static_1_8"] == pytest.approx(2 / 17)  # one of class 3, and class 0 by default


def test_selected_experts_are_chosen_for_each_test_input():
    scores = scores_of(hosted(oracle()), TOY, one_hots([3] * 9 + list(range(C)), C), BALANCED, "fp32").values
    assert scores["accuracy_selected_1_8"] == 1


def test_the_numbers_beside_it_by_hand():
    mass = (0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0)
    found = measured(hosted(Table(always(*mass), torch.zeros(C, C), echo=1.0)))
    scores = found.scores
    assert [scores[f"mass_kept_1_{n}"] for n in (8, 4, 2)] == pytest.approx([0.4, 0.7, 1.0])
    assert [scores[f"retained_1_{n}"] for n in (8, 4, 2)] == [1, 1, 1]
    for n in (8, 4, 2):
        gap = scores[f"accuracy_selected_1_{n}"] - scores[f"accuracy_random_1_{n}"]
        assert scores[f"paper_gap_1_{n}"] == pytest.approx(gap)
    assert scores["paper_gap"] == pytest.approx(sum(scores[f"paper_gap_1_{n}"] for n in (8, 4, 2)) / 3)
    assert [1 / n for n in (8, 4, 2)] == list(SHARES.values())


def test_inputs_without_any_mass_do_not_spoil_the_mass_kept():
    def all_but_class_0(x_BTD):
        return own_expert(x_BTD) * (x_BTD[:, :, 0] == 0)

    found = measured(hosted(Table(all_but_class_0, torch.eye(C))))
    assert found.scores["mass_kept_1_8"] == pytest.approx((7 + 1 / 8) / 8)


def test_no_inputs_of_a_class_and_a_hopeless_model_are_survived():
    targets = torch.ones(40, dtype=torch.long)
    hopeless = split(BALANCED.inputs[:40] * 0, targets)
    found = measured(hosted(oracle()), hopeless)
    assert found.value is None
    assert found.scores["retained_1_8"] == 0
