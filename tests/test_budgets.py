"""The solver: within 1 % on every axis, the nearest where nothing is, and no trace of having solved."""

import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from layers import Cliff, Curved, Dropping, Fixed, InSteps, Like, Seeding, repeated, slots, with_buffer
from moebench.budgets import (
    TOLERANCE,
    Budget,
    check_rules,
    count_flops,
    count_layer,
    count_layers,
    flops_bounds,
    flops_of_layers,
    settle,
    solve,
)
from moebench.budgets.count import build_on_meta
from moebench.contract import wrap
from moebench.errors import BudgetError
from moevariants.dense import Dense, DenseLayer
from moevariants.random_router import RandomRouter
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import SparseTopK

VARIANTS = {
    "dense": (Dense(), {}),
    "soft_moe": (SoftMoE(), {"experts": 16}),
    "sparse_topk": (SparseTopK(), {"experts": 8, "top_k": 2}),
    "random_router": (RandomRouter(), {"experts": 16}),
}


def built(variant, shapes, sizes, settings):
    return [variant.layer(shape, size, settings) for shape, size in zip(shapes, sizes, strict=True)]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("layers", "amount"), [(1, 131_072), (2, 264_320), (2, 1_000_003), (5, 300_000)])
def test_total_is_met_within_one_percent_as_counted_on_real_layers(name, layers, amount):
    variant, settings = VARIANTS[name]
    shapes = slots(layers)
    solution = solve(variant, Budget("total", amount, shapes), settings)
    real = built(variant, shapes, solution.sizes, settings)
    total = sum(p.numel() for layer in real for p in layer.parameters())
    assert total == solution.amount == solution.counts.total
    assert abs(total - amount) <= TOLERANCE * amount
    assert len(solution.sizes) == layers
    assert max(solution.sizes) - min(solution.sizes) <= 1


@pytest.mark.parametrize(("layers", "amount"), [(1, 50_000), (3, 50_000), (3, 264_320)])
@pytest.mark.parametrize(("experts", "top_k"), [(8, 1), (8, 2), (16, 4)])
def test_active_is_what_acts_on_one_token_by_hand(layers, amount, experts, top_k):
    settings = {"experts": experts, "top_k": top_k, "renormalise": top_k > 1}
    solution = solve(SparseTopK(), Budget("active", amount, slots(layers)), settings)
    router = 64 * experts
    one_expert = [2 * 64 * hidden + hidden + 64 for hidden in solution.sizes]
    active = sum(router + top_k * expert for expert in one_expert)
    assert active == solution.amount == solution.counts.active
    assert solution.counts.total == sum(router + experts * expert for expert in one_expert)
    assert abs(active - amount) <= TOLERANCE * amount
    assert max(solution.sizes) - min(solution.sizes) <= 1


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("layers", "amount"), [(1, 1_500_000), (3, 3_000_000)])
def test_flops_are_met_as_counted_on_real_layers(name, layers, amount):
    variant, settings = VARIANTS[name]
    shapes = slots(layers)
    solution = solve(variant, Budget("flops", amount, shapes), settings)
    real = built(variant, shapes, solution.sizes, settings)
    flops = sum(count_flops(layer, shape) for layer, shape in zip(real, shapes, strict=True))
    assert flops == solution.amount
    assert abs(flops - amount) <= TOLERANCE * amount
    assert max(solution.sizes) - min(solution.sizes) <= 1
    assert solution.counts == count_layers(real)


def test_one_layer_more_a_unit_comes_closer_than_a_common_size_can():
    """Dense, D = 64: 8,321 parameters at width 64, 129 more for each unit."""
    shapes = slots(4)
    at = [sum(count_layer(Dense().layer(shape, 64, {})).total for shape in shapes) + 129 * k for k in range(5)]
    for grown, amount in enumerate(at):
        solution = solve(Dense(), Budget("total", amount + 60, shapes), {})
        assert solution.amount == amount
        assert sorted(solution.sizes) == [64] * (4 - grown) + [65] * grown


def nearest_by_hand(variant, layers, settings, amount, largest):
    """Every amount that sizes at most one apart reach, by building them all."""
    reached = set()
    for size in range(1, largest):
        for grown in range(layers):
            sizes = [size + 1] * grown + [size] * (layers - grown)
            reached.add(count_layers(built(variant, slots(layers), sizes, settings)).total)
    below, above = [r for r in reached if r <= amount], [r for r in reached if r > amount]
    return (*sorted(below)[-1:], *sorted(above)[:1])


@pytest.mark.parametrize(
    ("layers", "experts", "amount", "count"), [(1, 16, 20_000, 2), (2, 16, 33_500, 2), (1, 64, 9_000, 1)]
)
def test_an_impossible_budget_names_the_nearest_that_can_be_built(layers, experts, amount, count):
    settings = {"experts": experts}
    with pytest.raises(BudgetError) as caught:
        solve(SoftMoE(), Budget("total", amount, slots(layers)), settings)
    assert caught.value.facts["nearest"] == nearest_by_hand(SoftMoE(), layers, settings, amount, 25)
    assert len(caught.value.facts["nearest"]) == count
    place = "1 layer" if layers == 1 else f"{layers} layers"
    named = " and ".join(f"{each:,}" for each in caught.value.facts["nearest"])
    assert str(caught.value) == (
        f"soft_moe cannot meet {amount:,} total parameters in {place} with experts={experts}; "
        f"the nearest it reaches: {named}."
    )


@pytest.mark.parametrize("axis", ["total", "active", "flops"])
def test_a_layer_that_ignores_its_size_is_refused_by_name_before_it_fills_the_memory(axis):
    with pytest.raises(BudgetError, match=r"^fixed does not grow with size: .* of 1,000,000 at size 1,024") as caught:
        solve(Fixed(), Budget(axis, 1_000_000, slots()), {})
    assert caught.value.code == "ignores-size"


def test_a_layer_that_grows_in_steps_is_no_layer_that_does_not_grow():
    solution = solve(InSteps(), Budget("total", 264_320, slots()), {})
    assert abs(solution.amount - 264_320) <= TOLERANCE * 264_320


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0])
def test_any_growth_is_solved_as_trying_every_size_would(power):
    variant, slot = Curved(power), slots()[0]
    amounts = [count_layer(build_on_meta(variant, slot, size, {})).total for size in range(1, 700)]
    for amount in (amounts[11], amounts[11] + 1, amounts[150] - 1, amounts[600], 65_000):
        nearest = min(amounts, key=lambda each: (abs(each - amount), each))
        if abs(nearest - amount) <= TOLERANCE * amount:
            assert solve(Curved(power), Budget("total", amount, slots()), {}).amount == nearest


def sizes_built(variant, amount):
    """The sizes at which solving built a layer, whether or not it met the budget."""
    sizes = []
    build = variant.build
    variant.build = lambda shape, size: (sizes.append(size), build(shape, size))[1]
    with suppress(BudgetError):
        solve(variant, Budget("total", amount, slots()), {})
    return sizes


def test_a_size_is_found_with_few_layers_built_and_none_much_too_large():
    """FLOPs are counted on real layers, which cost time and memory."""
    sizes = sizes_built(Dense(), 1_500_000)
    assert len(sizes) <= 10
    assert max(sizes) <= 1.5 * 1_500_000 / 129


@pytest.mark.parametrize("power", [0.5, 2.0, 3.0])
def test_even_a_crooked_growth_is_followed_in_few_steps(power):
    assert len(sizes_built(Curved(power), 1_000_003)) <= 40


def test_a_cliff_does_not_make_it_try_every_size():
    assert len(sizes_built(Cliff(), 500_000)) <= 30


def test_frozen_parameters_count():
    settings = {"experts": 8}
    frozen = count_layer(RandomRouter().layer(slots()[0], 9, settings))
    free = count_layer(SparseTopK().layer(slots()[0], 9, settings))
    assert (frozen.total, frozen.active) == (free.total, free.active)
    assert frozen.trainable == free.trainable - 64 * 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_weights_hidden_in_buffers_are_refused(dtype):
    budget, each = Budget("total", 100_000, slots()), 2 if dtype.is_complex else 1  # a complex number is two
    assert settle(with_buffer(98 // each, dtype), budget, {})
    with pytest.raises(BudgetError, match="mine: its layers hold 110 elements in floating-point buffers"):
        settle(with_buffer(110 // each, dtype), budget, {})


def test_buffers_without_a_fraction_may_be_of_any_size():
    assert settle(with_buffer(50_000, torch.int64), Budget("total", 100_000, slots()), {})


def test_repeated_passes_through_shared_weights_are_refused_where_parameters_are_equal():
    budget = Budget("total", 100_000, slots(2))
    assert settle(repeated(1), budget, {})
    with pytest.raises(BudgetError, match=r"mine: its layers need [\d,]+ FLOPs per input, over 1.1 times the"):
        settle(repeated(2), budget, {})
    flops = Budget("flops", 3_000_000, slots(2))
    with pytest.raises(BudgetError, match=r"what its active parameters take .* says how often in `passes`"):
        settle(repeated(2), flops, {})
    assert settle(repeated(2, passes=2), flops, {})


def test_flops_that_the_counter_does_not_see_have_no_place_on_their_axis():
    shapes = slots()
    counts = count_layer(Dense().layer(shapes[0], 100, {}))
    bounds = flops_bounds([Dense().layer(shapes[0], 100, {})], shapes, causal=True)
    flops = count_flops(Dense().layer(shapes[0], 100, {}), shapes[0])
    assert bounds.least < flops < bounds.most
    for axis, refused in (("flops", True), ("total", False)):
        found = check_rules(axis, shapes, counts, int(bounds.least) - 1, experts=0, bounds=bounds)
        assert bool(found) is refused
    assert flops_bounds([Dense().layer(shapes[0], 100, {})], shapes, causal=False).least == 0


def test_flops_are_counted_under_one_seed():
    shape = slots()[0]
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(flops_of_layers(RoutesByWeight(), [shape], [20], {}))
    assert found[0] == found[1]


class RoutesByWeight(Dense):
    """Its cost depends on its weights."""

    name = "by_weight"

    def build(self, shape, size):
        layer = DenseLayer(shape, size)
        times = 1 + int(torch.rand(1) * 1000) if layer.training and not next(layer.parameters()).is_meta else 1
        plain = layer.compute
        layer.compute = lambda x_BTD, routing, keep_BE=None: sum(plain(x_BTD, routing) for _ in range(times))
        return layer


def test_many_slots_are_refused_as_repeated_passes_are():
    budget = Budget("total", 100_000, slots())
    assert settle(SoftMoE(), budget, {"experts": 8})
    with pytest.raises(BudgetError) as caught:
        settle(SoftMoE(), budget, {"experts": 8, "slots": 32})
    assert (caught.value.code, caught.value.facts["variant"]) == ("breaks-budget-rule", "soft_moe")


def test_on_the_active_axis_only_dense_may_use_all_its_parameters():
    budget = Budget("active", 100_000, slots())
    assert settle(Dense(), budget, {})
    assert settle(SparseTopK(), budget, {"experts": 8})
    for variant, settings in ((SoftMoE(), {"experts": 8}), (SparseTopK(), {"experts": 4, "top_k": 4})):
        with pytest.raises(BudgetError, match=f"{variant.name}: all its parameters are active"):
            settle(variant, budget, settings)
        assert settle(variant, Budget("total", 100_000, slots()), settings)


@pytest.mark.parametrize("axis", ["total", "active", "flops"])
@pytest.mark.parametrize("variant", [Dense(), SparseTopK(), Seeding()], ids=lambda variant: variant.name)
def test_solving_leaves_every_generator_as_it_was(axis, variant):
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    settle(variant, Budget(axis, 500_000, slots(2)), {})
    after = torch.rand(3), random.random(), np.random.rand()
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    assert torch.equal(after[0], torch.rand(3))
    assert after[1:] == (random.random(), np.random.rand())


def test_counting_flops_leaves_modes_and_generator_as_they_were():
    layer = Dropping(slots()[0]).train()
    layer.norm.eval()
    before = torch.get_rng_state()
    assert count_flops(layer, slots()[0]) == 2 * 16 * 64 * 64
    assert torch.equal(torch.get_rng_state(), before)
    assert (layer.training, layer.linear.training, layer.norm.training) == (True, True, False)


def test_flops_are_counted_in_the_type_of_the_weights():
    layer = Dense().layer(slots()[0], 8, {})
    assert count_flops(layer.double(), slots()[0]) == 2 * 2 * 16 * 64 * 8


def test_a_wrapped_module_is_sized_by_its_width():
    def factory(dim, hidden):
        return torch.nn.Sequential(torch.nn.Linear(dim, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, dim))

    solution = settle(wrap(factory, name="mlp"), Budget("total", 100_000, slots(2)), {})
    assert solution == solve(Dense(), Budget("total", 100_000, slots(2)), {})


def test_building_on_meta_has_no_memory_and_the_shapes_of_the_real_layer():
    layer = build_on_meta(SparseTopK(), slots()[0], 2**20, {"experts": 64})
    assert {parameter.device.type for parameter in layer.parameters()} == {"meta"}
    assert count_layer(layer).total == 64 * 64 + 64 * (129 * 2**20 + 64)
    assert count_layer(build_on_meta(Like(lambda *_: None), slots()[0], 4, {})).total == 4 * 129 + 64
