"""What is sparse top-k but for one part: a cosine router, experts of several sizes, a hash in place of a router."""

import pytest
import torch

from moebench.contract import Context, LayerShape
from moevariants.cosine_topk import WARMEST, CosineTopK
from moevariants.hash_position import HashPosition
from moevariants.modse import MoDSE, sizes
from moevariants.sparse_topk import PRESETS, SparseTopK


def build(variant, size=20, dim=4, out_dim=3, tokens=None, **settings):
    torch.manual_seed(0)
    return variant().layer(LayerShape(dim=dim, out_dim=out_dim, tokens=tokens), size, settings).double()


def tokens(inputs=3, length=7):
    return torch.randn(inputs, length, 4, dtype=torch.float64)


def test_cosine_logits_are_cosines_over_a_temperature():
    router = build(CosineTopK, experts=6, router_dim=5).router
    x_D = torch.randn(4, dtype=torch.float64)
    low_d = x_D @ router.weight_Dd
    expected = [torch.nn.functional.cosine_similarity(low_d, e_d, dim=0).item() / 0.07 for e_d in router.embedding_Ed]
    assert router(x_D.view(1, 1, 4))[0, 0].tolist() == pytest.approx(expected)
    assert router(1000 * x_D.view(1, 1, 4))[0, 0].tolist() == pytest.approx(expected), "length does not matter"


def test_the_temperature_learns_and_stays_in_bounds():
    layer = build(CosineTopK)
    layer(tokens()).square().sum().backward()
    assert layer.router.log_factor.grad.abs() > 0
    torch.nn.init.constant_(layer.router.log_factor, 50.0)
    assert layer.router(tokens()).abs().max() <= WARMEST * (1 + 1e-9)


@pytest.mark.parametrize(("experts", "given", "expected"), [(8, None, 4), (64, None, 32), (2, None, 2), (8, 7, 7)])
def test_the_routers_width_is_half_the_experts_unless_given(experts, given, expected):
    assert build(CosineTopK, experts=experts, router_dim=given).router.embedding_Ed.shape == (experts, expected)


def test_a_token_of_length_zero_is_like_all_experts():
    assert not build(CosineTopK).router(torch.zeros(1, 2, 4, dtype=torch.float64)).any()


@pytest.mark.parametrize("mean", [1, 2, 3, 20, 127])
@pytest.mark.parametrize("experts", [2, 8, 16, 64])
def test_pairs_of_sizes_have_twice_the_mean_exactly(experts, mean):
    widths = sizes(experts, mean)
    assert len(widths) == experts
    assert widths == sorted(widths, reverse=True)
    assert min(widths) >= 1
    assert all(big + small == 2 * mean for big, small in zip(widths, reversed(widths), strict=True))


def test_the_sizes_are_those_of_the_paper():
    assert sizes(8, 10) == [18, 16, 12, 10, 10, 8, 4, 2]


def test_experts_of_several_sizes_compute_what_each_does():
    layer = build(MoDSE, size=10, experts=8, top_k=3).eval()
    same = build(SparseTopK, size=10, experts=8, top_k=3)
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in same.parameters())
    x_BTD = tokens()
    routing = layer.route(x_BTD, Context())
    by_expert = [(bank, e) for bank in layer.experts.banks for e in range(bank.count)]
    assert [bank.w_in_EDH.shape[2] for bank, _ in by_expert] == sizes(8, 10)
    expected_BTO = torch.zeros(3, 7, 3, dtype=torch.float64)
    for b, t, k in torch.cartesian_prod(torch.arange(3), torch.arange(7), torch.arange(3)).tolist():
        bank, e = by_expert[routing.chosen_BTK[b, t, k]]
        hidden_H = bank.activate(x_BTD[b, t] @ bank.w_in_EDH[e] + bank.b_in_EH[e])
        expected_BTO[b, t] += routing.weight_BTK[b, t, k] * (hidden_H @ bank.w_out_EHO[e] + bank.b_out_EO[e])
    torch.testing.assert_close(layer.compute(x_BTD, routing), expected_BTO)


def test_parameters_name_the_experts_they_hold():
    layer = build(MoDSE, size=10, experts=8)
    held = [layer.experts_held(name) for name in layer.expert_parameters() if name.endswith("w_in_EDH")]
    assert [list(each) for each in held] == [[0], [1], [2], [3, 4], [5], [6], [7]]


def test_experts_come_in_pairs():
    with pytest.raises(ValueError, match="modse: experts must be an even number"):
        build(MoDSE, experts=7)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_hash_deals_experts_out_evenly_and_looks_at_nothing(top_k):
    layer = build(HashPosition, experts=6, top_k=top_k, tokens=24)
    routing = layer.route(tokens(2, 24), Context())
    assert torch.bincount(routing.chosen_BTK[0].flatten()).tolist() == [24 * top_k // 6] * 6
    assert all(len(set(chosen)) == top_k for chosen in routing.chosen_BTK[0].tolist())
    assert torch.equal(routing.chosen_BTK, layer.route(-tokens(2, 24), Context()).chosen_BTK)
    torch.testing.assert_close(routing.weight_BTK, torch.full_like(routing.weight_BTK, 1 / top_k))
    assert not [name for name, _ in layer.router.named_parameters()]
    assert routing.losses == {}


def test_a_hash_is_another_with_another_seed_and_is_saved():
    one = build(HashPosition, experts=6, tokens=24)
    torch.manual_seed(1)
    other = HashPosition().layer(LayerShape(dim=4, out_dim=3, tokens=24), 20, {"experts": 6})
    assert not torch.equal(one.router.expert_PK, other.router.expert_PK)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.router.expert_PK, other.router.expert_PK)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_makes_the_layer_of_its_paper(name):
    layer = build(SparseTopK, **PRESETS[name])
    routing = layer.train().route(tokens(4, 9), Context())
    assert set(routing.losses) == {"switch": {"balance"}, "gshard": {"balance"}, "v_moe": {"importance", "load"}}[name]
    assert layer.gate.top_k == (1 if name == "switch" else 2)
    sums = layer.eval().route(tokens(4, 9), Context()).weight_BTK.sum(-1)
    assert bool((sums.sub(1).abs() < 1e-9).all()) == (name == "gshard")
