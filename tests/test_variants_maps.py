"""Layers that route whole feature maps: equal to a loop over images with the chosen experts, in budget and FLOPs."""

import pytest
import torch
from torch.nn import functional as F

from moebench.budgets import Budget, count_flops, count_layer, settle, solve
from moebench.checks import run_checks
from moebench.contract import Context, LayerShape
from moebench.errors import HostError
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.host import restrict
from moebench.tasks import get_task
from moebench.training.ranks.division import part_of
from moevariants.block_moe import BlockMoE
from moevariants.conv_moe import ConvMoE
from moevariants.plain_map import PlainBlock, PlainConv
from moevariants.sparse_topk import SparseTopK

HEIGHT, WIDTH, DIM, HIDDEN = 3, 4, 6, 5
SHAPE = LayerShape(dim=DIM, out_dim=DIM, tokens=HEIGHT * WIDTH, activation="relu", grid=(HEIGHT, WIDTH))
ROUTED = [BlockMoE, ConvMoE]
ALL = [*ROUTED, PlainBlock, PlainConv]


def build(variant, shape=SHAPE, **settings):
    torch.manual_seed(0)
    layer = variant().layer(shape, HIDDEN, settings).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def inputs(count=7, seed=1):
    return torch.randn(count, HEIGHT * WIDTH, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def as_map(x_TD):
    """One image's tokens, row by row, as (1, D, h, w), place by place."""
    maps = x_TD.new_zeros(1, x_TD.shape[1], HEIGHT, WIDTH)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            maps[0, :, row, column] = x_TD[row * WIDTH + column]
    return maps


def as_tokens(maps):
    return torch.stack([maps[0, :, row, column] for row in range(HEIGHT) for column in range(WIDTH)])


def norm(maps, scale, shift):
    centred = maps - maps.mean()
    return centred / (maps.var(correction=0) + 1e-5).sqrt() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def block(layer, e, maps):
    bank = layer.experts
    inner = norm(F.conv2d(maps, bank.w_in_EHDkk[e], padding=1), bank.scale_in_EH[e], bank.shift_in_EH[e]).relu()
    branch = F.conv2d(inner, bank.w_out_EDHkk[e], padding=1)
    return (maps + norm(branch, bank.scale_out_ED[e], bank.shift_out_ED[e])).relu()


def convolution(layer, e, maps):
    first, bank = layer.before, layer.experts
    inner = norm(F.conv2d(maps, first.w_in_HDkk, padding=1), first.scale_H, first.shift_H).relu()
    return F.conv2d(inner, bank.weight_EOIkk[e], bank.bias_EO[e], padding=1)


EXPERT = {BlockMoE: block, ConvMoE: convolution}


def by_loop(variant, layer, x_BTD, keep_BE=None):
    """Image by image: the K experts of largest probability, each weighted by it, renormalised where K > 1."""
    outputs = []
    for b, x_TD in enumerate(x_BTD):
        p_E = (x_TD.mean(0) @ layer.router.linear.weight_DE).softmax(0)
        chosen = p_E.argsort(descending=True)[: layer.top_k].tolist()
        total = p_E[chosen].sum() if len(chosen) > 1 else 1.0
        y_TD = torch.zeros_like(x_TD)
        for e in chosen:
            if keep_BE is None or keep_BE[b, e]:
                y_TD = y_TD + p_E[e] / total * as_tokens(EXPERT[variant](layer, e, as_map(x_TD)))
        outputs.append(y_TD)
    return torch.stack(outputs)


@pytest.mark.parametrize("variant", ROUTED)
@pytest.mark.parametrize("top_k", [1, 2])
def test_the_layer_is_a_loop_over_images_with_the_chosen_experts(variant, top_k):
    layer, x_BTD = build(variant, experts=4, top_k=top_k), inputs().requires_grad_()
    want = by_loop(variant, layer, x_BTD)
    torch.testing.assert_close(layer(x_BTD), want)
    wanted = [x_BTD, *layer.parameters()]
    got = torch.autograd.grad(layer(x_BTD).square().sum(), wanted)
    torch.testing.assert_close(got, torch.autograd.grad(want.square().sum(), wanted))


@pytest.mark.parametrize("variant", ROUTED)
def test_a_mask_is_that_loop_without_the_masked_experts(variant):
    layer, x_BTD = build(variant, experts=4, top_k=2), inputs()
    keep_BE = torch.rand(len(x_BTD), 4, generator=torch.Generator().manual_seed(2)) < 0.5
    assert 0 < keep_BE.sum() < keep_BE.numel()
    got = layer.compute(x_BTD, layer.route(x_BTD, Context()), keep_BE)
    torch.testing.assert_close(got, by_loop(variant, layer, x_BTD, keep_BE))
    nobody = layer.compute(x_BTD, layer.route(x_BTD, Context()), torch.zeros_like(keep_BE))
    assert nobody.shape == got.shape
    assert not nobody.any()


@pytest.mark.parametrize("variant", ROUTED)
def test_one_fixed_expert_takes_every_image_with_all_the_weight(variant):
    layer, x_BTD = build(variant, experts=4), inputs()
    for e in range(4):
        keep_BE = torch.zeros(len(x_BTD), 4, dtype=torch.bool).index_fill(1, torch.tensor(e), True)
        routing = restrict(layer, x_BTD, layer.route(x_BTD, Context()), keep_BE, "mask_logits")
        got = layer.compute(x_BTD, routing, keep_BE)
        want = torch.stack([as_tokens(EXPERT[variant](layer, e, as_map(x_TD))) for x_TD in x_BTD])
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(("mixture", "plain"), [(BlockMoE, PlainBlock), (ConvMoE, PlainConv)])
def test_with_one_expert_a_mixture_is_the_plain_layer(mixture, plain):
    layer, reference, x_BTD = build(mixture, experts=1), build(plain), inputs()
    own = {name: value for name, value in layer.named_parameters() if not name.startswith("router")}
    with torch.no_grad():
        pairs = zip(_in_order(own), reference.parameters(), strict=True)
        for source, target in pairs:
            target.copy_(source.reshape(target.shape))
    torch.testing.assert_close(layer(x_BTD), reference(x_BTD))


def _in_order(named):
    """Convolution in, scale, shift, convolution out, and what follows it: as the plain layer registers them."""
    places = (
        "w_in",
        "scale_in",
        "scale_H",
        "shift_in",
        "shift_H",
        "w_out",
        "weight_E",
        "scale_out",
        "shift_out",
        "bias",
    )
    return [value for place in places for name, value in named.items() if place in name]


def test_parameters_and_flops_by_hand():
    """h w = 12, D = 6, H = 5, E = 4, K = 1. A convolution of 3 x 3 places takes 2 h w 9 D H FLOPs."""
    shape, weights, router = SHAPE, 9 * DIM * HIDDEN, 2 * DIM * 4
    conv = 2 * 12 * weights
    found = {
        variant: variant().layer(shape, HIDDEN, {} if "plain" in variant.name else {"experts": 4}) for variant in ALL
    }
    assert {variant: count_layer(layer).total for variant, layer in found.items()} == {
        BlockMoE: 4 * (2 * weights + 2 * HIDDEN + 2 * DIM) + DIM * 4,
        ConvMoE: weights + 2 * HIDDEN + 4 * (weights + DIM) + DIM * 4,
        PlainBlock: 2 * weights + 2 * HIDDEN + 2 * DIM,
        PlainConv: 2 * weights + 2 * HIDDEN + DIM,
    }
    assert count_layer(found[BlockMoE]).active == 2 * weights + 2 * HIDDEN + 2 * DIM + DIM * 4
    assert count_layer(found[ConvMoE]).active == 2 * weights + 2 * HIDDEN + DIM + DIM * 4
    flops = {variant: count_flops(layer, shape) for variant, layer in found.items()}
    assert flops == {
        BlockMoE: 2 * conv + router,
        ConvMoE: 2 * conv + router,
        PlainBlock: 2 * conv,
        PlainConv: 2 * conv,
    }


HOST = {"name": "resnet", "channels": [8, 16, 32], "blocks": [1, 2, 2]}


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize(
    ("axis", "amount"),
    [("total", 600_000), ("active", 200_000), ("flops", 10_000_000)],
)
def test_sizes_meet_a_budget_within_a_hundredth(variant, axis, amount):
    shapes = layer_shapes(host_settings(HOST | {"replace": [2, 4]}), get_task("cifar10").info)
    solution = solve(variant(), Budget(axis, amount, shapes), {})
    assert abs(solution.amount - amount) <= 0.01 * amount
    layers = [variant().layer(shape, size, {}) for shape, size in zip(shapes, solution.sizes, strict=True)]
    if axis == "flops":
        real = sum(count_flops(layer, shape) for layer, shape in zip(layers, shapes, strict=True))
    else:
        real = sum(getattr(count_layer(layer), axis) for layer in layers)
    assert real == solution.amount


@pytest.mark.parametrize("variant", ALL)
def test_the_rules_of_the_budget_hold(variant):
    shapes = layer_shapes(host_settings(HOST), get_task("cifar10").info)
    assert settle(variant(), Budget("total", 400_000, shapes), {}).amount


@pytest.mark.parametrize("variant", ALL)
def test_a_host_without_maps_is_refused_in_one_sentence(variant):
    shapes = layer_shapes(host_settings({"name": "vit"}), get_task("cifar10").info)
    with pytest.raises(HostError) as caught:
        settle(variant(), Budget("total", 400_000, shapes), {})
    assert str(caught.value) == f"{variant.name} takes part in hosts of feature maps, and this one is of tokens."
    with pytest.raises(ValueError, match=f"{variant.name} needs a feature map; this slot's tokens have no height"):
        variant().layer(shapes[0], 4, {})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"expert": 4}, r"has no setting 'expert'; did you mean 'experts'\?"),
        ({"experts": 0}, "experts must be a whole number of at least 1, not 0"),
        ({"experts": 4, "top_k": 5}, r"top_k must be at most 4 \(the number of experts\), not 5"),
        ({"renormalise": True}, "renormalise must be false where top_k is 1, or the router gets no gradient, not True"),
        ({"hard": 0.9}, "hard must be None, or at least 1, so that 1 of 8 experts are left, not 0.9"),
        ({"top_k": 2, "hard": 1.1}, "hard must be None, or at least 1.143, so that 2 of 8 experts are left, not 1.1"),
        ({"hard": "2"}, "hard must be a number of at least 0, not '2'"),
        ({"memory": 0}, "memory must be a whole number of at least 1, not 0"),
        ({"loss/kl": -1}, "loss/kl must be a number of at least 0, not -1"),
    ],
)
@pytest.mark.parametrize("variant", ROUTED)
def test_a_wrong_setting_is_one_sentence(variant, settings, words):
    with pytest.raises(ValueError, match=f"^{variant.name}:? {words}$"):
        variant().layer(SHAPE, HIDDEN, settings)


def test_a_block_keeps_its_width_and_a_map_has_no_padding():
    wider = LayerShape(dim=6, out_dim=8, tokens=12, grid=(3, 4))
    for variant in (BlockMoE, PlainBlock):
        with pytest.raises(ValueError, match="a block's shortcut keeps its width, the host asks 6->8"):
            variant().layer(wider, HIDDEN, {})
    for variant in ALL:
        with pytest.raises(ValueError, match="a feature map has no padding"):
            build(variant).route(inputs(), Context(torch.ones(7, 12, dtype=torch.bool)))
    assert ConvMoE().layer(wider, HIDDEN, {})(torch.randn(2, 12, 6)).shape == (2, 12, 8)


def test_experts_balance_their_importance_through_the_layer():
    layer = build(BlockMoE, experts=4, hard=1.2, memory=1).train()
    favourite = layer.route(inputs(), Context()).chosen_BTK[:, 0, 0].mode().values
    layer.gate.given_E.zero_().index_fill_(0, favourite, 1.0)
    layer.after_step()
    assert layer.gate.left_out().nonzero().flatten().tolist() == [favourite.item()]
    assert not (layer.route(inputs(), Context()).chosen_BTK == favourite).any()
    assert (layer.eval().route(inputs(), Context()).chosen_BTK == favourite).any()


@pytest.mark.parametrize("variant", ROUTED)
def test_a_hard_constraint_and_two_choices_keep_the_contract(variant):
    class Opened(variant):
        tune = {**variant.tune, "top_k": (2, 1), "renormalise": (False,), "hard": (1.5, 2.0)}

    checks = ["resume", "eval_changes_nothing", "after_step", "losses_do_not_accumulate", "whole_inputs_are_routed"]
    report = run_checks(Opened, only=[*checks, "mask_adds_up", "choices_are_well_formed", "deepcopy"])
    assert [(row.name, row.message) for row in report.failures] == []


@pytest.mark.parametrize("variant", ROUTED)
def test_a_share_of_the_batch_is_computed_by_its_part_of_the_routing(variant):
    layer, x_BTD = build(variant, experts=4, top_k=2), inputs()
    routing = layer.route(x_BTD, Context())
    part = part_of(layer, x_BTD, routing, slice(2, 5))
    torch.testing.assert_close(layer.compute(x_BTD[2:5], part), layer(x_BTD)[2:5])


@pytest.mark.parametrize("variant", ROUTED)
def test_nominal_routing_deals_images_out_in_turn(variant):
    layer, x_BTD = build(variant, experts=4, top_k=2), inputs(4)
    routing = layer.nominal_routing(x_BTD)
    assert routing.chosen_BTK[:, 0].tolist() == [[0, 1], [2, 3], [0, 1], [2, 3]]
    assert torch.equal(routing.chosen_BTK, routing.chosen_BTK[:, :1].expand_as(routing.chosen_BTK))
    assert routing.mass_BE.sum(0).tolist() == [12.0] * 4


def test_a_layer_of_tokens_works_on_a_map():
    layer = SparseTopK().layer(SHAPE, HIDDEN, {"experts": 4})
    assert layer(inputs().float()).shape == (7, 12, DIM)
