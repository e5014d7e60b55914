"""Sparse top-k against the equations, token by token, and its traps."""

import math

import pytest
import torch

from moebench.budgets.count import active_parameters
from moebench.contract import Context, LayerShape
from moevariants.parts.losses import importance_loss
from moevariants.random_router import RandomRouter
from moevariants.sparse_topk import SparseTopK


def build(size=5, dim=4, out_dim=3, seed=0, variant=SparseTopK, bias=True, **settings):
    torch.manual_seed(seed)
    shape = LayerShape(dim=dim, out_dim=out_dim, tokens=None, bias=bias)
    layer = variant().layer(shape, size, {"experts": 5, **settings}).double()
    return layer


def expert(layer, e, z_D):
    bank = layer.experts
    hidden_H = bank.activate(z_D @ bank.w_in_EDH[e] + bank.b_in_EH[e])
    return hidden_H @ bank.w_out_EHO[e] + bank.b_out_EO[e]


def reference(layer, x_TD, top_k, renormalise, capacity=None, batch_priority=False):
    """y_TO and mass_E of one input, choice after choice, with explicit queues."""
    tokens, num_experts = len(x_TD), layer.num_experts
    power = [[torch.exp(x_TD[t] @ layer.router.weight_DE[:, e]) for e in range(num_experts)] for t in range(tokens)]
    p = [[value / sum(row) for value in row] for row in power]
    ranked = [sorted(range(num_experts), key=lambda e: (-row[e].item(), e))[:top_k] for row in p]
    places = tokens * top_k if capacity is None else min(tokens, math.ceil(tokens * top_k * capacity / num_experts))
    queue = sorted(range(tokens), key=lambda t: -p[t][ranked[t][0]].item()) if batch_priority else range(tokens)
    taken, mass_E = [0] * num_experts, [0.0] * num_experts
    y_TO = [torch.zeros(layer.experts.w_out_EHO.shape[2], dtype=torch.float64) for _ in range(tokens)]
    for k in range(top_k):
        for t in queue:
            e = ranked[t][k]
            weight = p[t][e] / sum(p[t][j] for j in ranked[t]) if renormalise else p[t][e]
            if taken[e] < places:
                taken[e] += 1
                y_TO[t] = y_TO[t] + weight * expert(layer, e, x_TD[t])
                mass_E[e] += weight.item()
    return torch.stack(y_TO), torch.tensor(mass_E, dtype=torch.float64)


CASES = [
    {"top_k": 2, "renormalise": True},
    {"top_k": 2, "renormalise": False},
    {"top_k": 1, "renormalise": False},
    {"top_k": 5, "renormalise": True},
    {"top_k": 2, "renormalise": True, "capacity": 0.7},
    {"top_k": 2, "renormalise": True, "capacity": 0.7, "batch_priority": True},
    {"top_k": 3, "renormalise": False, "capacity": 1.0, "batch_priority": True},
    {"top_k": 2, "renormalise": True, "capacity": 100.0},
]


@pytest.mark.parametrize("backend", ["loop", "grouped", "padded"])
@pytest.mark.parametrize("settings", CASES, ids=str)
def test_layer_is_the_equation_in_value_gradient_and_mass(settings, backend):
    layer = build(**settings, noise_std=3.0).eval()  # noise is for training alone
    layer.experts.set_backend(backend)
    layer.router.weight_DE.data.mul_(2)
    x_BTD = torch.randn(3, 7, 4, dtype=torch.float64, requires_grad=True)
    routing = layer.route(x_BTD, Context())
    y_BTO = layer.compute(x_BTD, routing)
    pairs = [reference(layer, x_TD, **settings) for x_TD in x_BTD]
    expected_BTO = torch.stack([y for y, _ in pairs])
    torch.testing.assert_close(y_BTO, expected_BTO)
    torch.testing.assert_close(routing.mass_BE, torch.stack([mass for _, mass in pairs]))
    if settings.get("capacity", 9) < 1:
        assert not routing.kept_BTK.all()
    probe_BTO, wanted = torch.randn_like(y_BTO), [x_BTD, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((y_BTO * probe_BTO).sum(), wanted),
        torch.autograd.grad((expected_BTO * probe_BTO).sum(), wanted),
    )


def test_dropless_is_the_default_and_keeps_everything():
    layer = build(experts=8)
    alike_BTD = torch.ones(2, 6, 4, dtype=torch.float64)  # all to the same experts
    routing = layer.route(alike_BTD, Context())
    assert routing.kept_BTK is None
    torch.testing.assert_close(routing.mass_BE.sum(1), torch.full((2,), 6.0, dtype=torch.float64))


def test_dropped_choices_give_zero_and_kept_weights_stay():
    layer = build(experts=5, top_k=2, capacity=0.2)
    x_BTD = torch.randn(1, 6, 4, dtype=torch.float64)
    x_BTD = x_BTD[:, :1].expand(1, 6, 4)  # six equal tokens, ceil(6 * 2 * 0.2 / 5) = 1 place: only the first is kept
    routing = layer.route(x_BTD, Context())
    assert routing.kept_BTK.sum(1).tolist() == [[1, 1]]
    y_BTO = layer.compute(x_BTD, routing)
    assert y_BTO[0, 0].any()
    assert not y_BTO[0, 1:].any()
    torch.testing.assert_close(routing.weight_BTK.sum(-1), torch.ones(1, 6, dtype=torch.float64))


def test_router_learns_with_one_choice():
    layer = build(top_k=1, renormalise=False, **{"loss/balance": 0.0})
    layer(torch.randn(2, 6, 4, dtype=torch.float64)).square().sum().backward()
    assert layer.router.weight_DE.grad.abs().max() > 1e-4


def test_noise_is_drawn_in_training_alone_and_from_the_default_generator():
    layer = build(noise_std=30.0, **{"loss/balance": 0.0})
    x_BTD = torch.randn(2, 6, 4, dtype=torch.float64)

    def logits_noise(seed):
        torch.manual_seed(seed)
        return layer(x_BTD)

    assert torch.equal(logits_noise(1), logits_noise(1))
    assert not torch.equal(logits_noise(1), logits_noise(2))
    layer.eval()
    before = torch.get_rng_state()
    assert torch.equal(layer(x_BTD), layer(x_BTD))
    assert torch.equal(torch.get_rng_state(), before)


def test_losses_are_those_of_the_probabilities_without_noise():
    layer = build(noise_std=30.0, **{"loss/balance": 0.0, "loss/importance": 0.1})
    x_BTD = torch.randn(2, 6, 4, dtype=torch.float64)
    wanted = importance_loss(layer.router(x_BTD).softmax(-1))
    torch.testing.assert_close(layer.route(x_BTD, Context()).losses["importance"], wanted)


def test_noise_has_the_stated_deviation():
    layer = build(experts=4, top_k=4, renormalise=False, noise_std=2.0)
    torch.nn.init.zeros_(layer.router.weight_DE)
    weight_BTK = layer.route(torch.zeros(50, 100, 4, dtype=torch.float64), Context()).weight_BTK
    # Logits 0 plus noise of deviation 2 / 4: log p = noise - log sum, so each token's spread over experts is
    # that of the noise, whose sample variance over 4 experts is 0.25 on average.
    assert weight_BTK.log().var(-1).mean().item() == pytest.approx(0.25, rel=0.03)


def test_losses_are_those_with_a_weight_and_of_the_whole_batch():
    names = {"loss/balance": 0.1, "loss/importance": 0.1, "loss/load": 0.1, "loss/z": 0.1}
    layer = build(noise_std=1.0, **names)
    x_BTD = torch.randn(4, 6, 4, dtype=torch.float64)
    losses = layer.route(x_BTD, Context()).losses
    assert list(losses) == ["balance", "importance", "load", "z"]
    assert all(value.isfinite() and value.shape == () for value in losses.values())
    assert list(build().route(x_BTD, Context()).losses) == ["balance"]
    assert build(**{"loss/balance": 0.0}).route(x_BTD, Context()).losses == {}
    assert build().eval().route(x_BTD, Context()).losses == {}
    # The same tokens cut into inputs otherwise have the same loss; per input they would not.
    layer = build()
    one_long = layer.route(x_BTD.view(1, 24, 4), Context()).losses["balance"]
    torch.testing.assert_close(layer.route(x_BTD, Context()).losses["balance"], one_long)


def test_balance_counts_choices_before_drops():
    x_BTD = torch.randn(2, 8, 4, dtype=torch.float64)
    free, tight = build(), build(capacity=0.3)
    assert not tight.route(x_BTD, Context()).kept_BTK.all()
    torch.testing.assert_close(
        tight.route(x_BTD, Context()).losses["balance"], free.route(x_BTD, Context()).losses["balance"]
    )


def test_nominal_routing_is_even_pays_for_the_router_and_drops_by_capacity_alone():
    x_BTD = torch.randn(2, 10, 4, dtype=torch.float64)
    routing = build(experts=5, top_k=2).nominal_routing(x_BTD)
    assert torch.bincount(routing.chosen_BTK.flatten()).tolist() == [8] * 5
    assert (routing.chosen_BTK[..., 0] != routing.chosen_BTK[..., 1]).all()
    assert routing.kept_BTK is None
    assert build(experts=5, capacity=1.0).nominal_routing(x_BTD).kept_BTK.all()
    assert build(experts=5, capacity=0.5).nominal_routing(x_BTD).kept_BTK.float().mean() == 0.5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"topk": 2}, "sparse_topk has no setting 'topk'; did you mean 'top_k'"),
        ({"experts": 4, "top_k": 5}, r"top_k must be at most 4 \(the number of experts\), not 5"),
        ({"top_k": 1, "renormalise": True}, "renormalise must be false where top_k is 1"),
        ({"experts": 1, "renormalise": True}, "renormalise must be false where top_k is 1"),
        ({"capacity": 0}, "capacity must be a factor above 0, or None for no limit, not 0"),
        ({"capacity": "full"}, "capacity must be a number of at least 0, not 'full'"),
        ({"noise_std": -1.0}, "noise_std must be a number of at least 0"),
        ({"loss/load": 0.1}, "loss/load must be 0 where noise_std is 0"),
        ({"loss/balance": "much"}, "loss/balance must be a number"),
        ({"batch_priority": 1}, "batch_priority must be true or false"),
    ],
)
def test_impossible_settings_are_named(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(**settings)


def test_missing_settings_follow_those_given():
    assert build(experts=1).gate.top_k == 1
    assert build(experts=1).gate.renormalise is False
    assert build(top_k=1).gate.renormalise is False
    assert build().gate.renormalise is True


def test_random_router_is_frozen_counted_and_trains_its_experts():
    layer = build(variant=RandomRouter)
    frozen = {name for name, parameter in layer.named_parameters() if not parameter.requires_grad}
    assert frozen == {"router.weight_DE"}
    assert active_parameters(layer) == active_parameters(build())
    x_BTD = torch.randn(2, 9, 4, dtype=torch.float64, requires_grad=True)
    assert layer.route(x_BTD, Context()).losses == {}
    torch.testing.assert_close(layer(x_BTD), build()(x_BTD))
    layer(x_BTD).sum().backward()
    assert layer.experts.w_in_EDH.grad.any()
    assert layer.router.weight_DE.grad is None
