"""What a subset costs: FLOPs, memory and time of the whole model and of its layers."""

import sys

import pytest
import torch

from hand_made import Plain, digits, model_of, single_layer
from moebench.budgets.flops import model_flops
from moebench.contract import Context
from moebench.measures.subset.cost import costs
from moebench.measures.subset.infer import ALL, Subset, subset_of
from moebench.measures.subset.select import fixed, nothing

DATA = digits("test", 20)
QUICK = {"batches": (1, 6), "rounds": 2, "repeats": 1}


def flops_of(name, numbers, score="combine_sum", **settings):
    model = model_of(name, **settings)
    found = costs({k: (model, ALL if k == 8 else subset_of(model, k, score=score)) for k in numbers}, DATA, **QUICK)
    return [found[k].model_flops for k in numbers], [found[k].layers_flops for k in numbers]


@pytest.mark.parametrize("name", ["soft_moe", "sparse_topk"])
def test_flops_of_all_experts_are_those_of_the_whole_model(name):
    (whole,), (layers,) = flops_of(name, [8])
    model = model_of(name).eval()
    assert whole == sum(model_flops(model, DATA.inputs[n : n + 1]) for n in range(6)) / 6
    assert 0 < layers < whole


def test_flops_of_soft_experts_grow_by_the_same_amount_with_each():
    model, layers = flops_of("soft_moe", [1, 2, 4, 8])
    (one, two, four, eight), parameters = layers, model_of("soft_moe").layers()[0].experts
    per_expert = two - one
    assert four - two == pytest.approx(2 * per_expert)
    # Two layers of two products, a multiplication and an addition for each weight of one expert's slot; and mixing.
    weights = 2 * 2 * (parameters.w_in_EDH[0].numel() + parameters.w_out_EHO[0].numel())
    assert weights <= per_expert <= 1.5 * weights
    assert four < eight
    assert model[1] - model[0] == pytest.approx(per_expert)  # the rest of the model costs the same


def test_flops_of_sparse_experts_are_a_mean_over_the_inputs_of_the_batch():
    """One expert alone: each token that chose it takes one row through it, and there is the router."""
    model = model_of("sparse_topk", host={"name": "single_layer", "grid": 2}).eval()
    layer = model.layers()[0]
    with torch.no_grad():
        chosen_BTK = layer.route(model.patches(DATA.inputs[:6]), Context()).chosen_BTK
    rows_E = torch.bincount(chosen_BTK.flatten(), minlength=8)
    expert, rows = int(rows_E.argmax()), int(rows_E.max())
    assert rows % 6
    found = costs({"none": (model, Subset(nothing)), "one": (model, Subset(fixed([expert])))}, DATA, **QUICK)
    per_row = 2 * (layer.experts.w_in_EDH[0].numel() + layer.experts.w_out_EHO[0].numel())
    assert found["one"].layers_flops - found["none"].layers_flops == pytest.approx(rows * per_row / 6)


def test_a_diagnostic_score_saves_nothing_and_its_cost_is_counted():
    _, (cheap, whole) = flops_of("soft_moe", [2, 8])
    _, (dear, _) = flops_of("soft_moe", [2, 8], score="combine_norm")
    assert cheap < whole < dear


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_way_is_timed_at_every_batch(precision):
    model = model_of("soft_moe")
    ways = {"all": ALL, "two": subset_of(model, 2), ("a", "name"): subset_of(model, 2, score="random")}
    found = costs({name: (model, way) for name, way in ways.items()}, DATA, precision=precision, **QUICK)
    assert found.keys() == ways.keys()
    for cost in found.values():
        for times in (cost.model_ms, cost.layers_ms):
            assert times.keys() == {1, 6}
            assert all(0 < spread.low <= spread.median <= spread.high for spread in times.values())
        assert sys.platform != "linux" or cost.peak_memory_mib >= 0


def test_the_batch_is_filled_where_data_are_few_and_the_layers_see_what_they_see_in_the_model():
    layer = Plain()
    model = single_layer(layer, image=(1, 1, 2), classes=2, grid=1)
    data = type(DATA)(torch.arange(6.0).view(3, 1, 1, 2), torch.zeros(3, dtype=torch.long))
    costs({"all": (model, ALL)}, data, batches=(5,), rounds=1, repeats=1)
    assert {tuple(x_BTD[:, 0, 0].tolist()) for x_BTD in layer.seen} == {(0, 2, 4, 0, 2)}
