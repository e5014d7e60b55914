"""PEER, MoE++ and Lory: by hand, against slow equations, and against a public implementation where it is installed."""

from importlib.util import find_spec

import pytest
import torch

from moebench.budgets.count import active_parameters
from moebench.budgets.flops import count_flops
from moebench.budgets.place import find_leak, perturb
from moebench.contract import Context, LayerShape
from moevariants.lory import Lory
from moevariants.moe_pp import MoEPP, ZeroGate
from moevariants.parts.losses import balance_loss
from moevariants.parts.product_keys import ProductKeyGate
from moevariants.peer import PEER
from test_variants_2026 import agree, built, expert, tokens
from test_variants_common import choose

WIDE = LayerShape(dim=12, out_dim=12, tokens=None)


# PEER


def test_product_keys_by_hand():
    """First halves 5, 1, 0 and second 3, 2: the sums 8 and 7 of experts (0, 0) and (0, 1); softmax of 8 and 7."""
    gate = ProductKeyGate(1, (3, 2), 2)
    gated = gate(torch.tensor([[[5.0, 1.0, 0.0, 3.0, 2.0]]]))
    assert gated.chosen_BTK.tolist() == [[[0, 1]]]
    assert gated.weight_BTK.flatten().tolist() == pytest.approx([0.7310586, 0.2689414])
    # 1 + 3 = 4 and 1.5 + 2 - that is experts (0, 1) and (1, 1).
    gated = gate(torch.tensor([[[1.0, 1.5, -9.0, 0.0, 3.0]]]))
    assert gated.chosen_BTK.tolist() == [[[3, 1]]]


def test_product_keys_are_the_best_of_all_pairs():
    gate, score_BTq = ProductKeyGate(2, (5, 7), 4), torch.randn(2, 3, 2 * (5 + 7))
    gated = gate(score_BTq)
    first_BThn, second_BThm = score_BTq[..., :10].unflatten(-1, (2, 5)), score_BTq[..., 10:].unflatten(-1, (2, 7))
    pairs_BThE = (first_BThn.unsqueeze(-1) + second_BThm.unsqueeze(-2)).flatten(-2)
    best = pairs_BThE.topk(4)
    assert torch.equal(gated.chosen_BTK, best.indices.flatten(2))
    torch.testing.assert_close(gated.weight_BTK, best.values.softmax(-1).flatten(2))


SMALL = {"heads": 3, "top_k": 2, "keys": 4, "width": 5}


def peer_slow(layer, x_D):
    query_2hd = torch.einsum("d,dshw->shw", x_D, layer.router.query_D2hd)
    total = 0
    for h in range(3):
        first_n, second_m = layer.router.first_hnd[h] @ query_2hd[0, h], layer.router.second_hmd[h] @ query_2hd[1, h]
        score_E = (first_n[:, None] + second_m[None, :]).flatten()
        best = score_E.topk(2)
        for weight, e in zip(best.values.softmax(0), best.indices, strict=True):
            unit = torch.nn.functional.gelu(x_D @ layer.experts.w_in_EDH[e, :, 0])
            total = total + weight * unit * layer.experts.w_out_EHO[e, 0]
    return total


def test_peer_is_its_equation_and_heads_may_choose_the_same_expert():
    layer = built(PEER, size=3, **SMALL)
    agree(layer, lambda x_D: peer_slow(layer, x_D), tokens(length=9))
    routing = layer.route(tokens(length=9), Context())
    assert int(routing.count_BTE.max()) > 1, "an expert of two heads"
    torch.testing.assert_close(routing.combine_BTE.sum(2), torch.full((2, 9), 3.0, dtype=torch.float64))


@pytest.mark.skipif(find_spec("PEER_pytorch") is None, reason="PEER-pytorch is not installed")
def test_peer_is_peer_pytorch_with_competing_scores():
    """Outputs and gradients, with the same weights; its default, ReLU scores of one expert a head, is another layer."""
    import PEER_pytorch

    torch.manual_seed(0)
    theirs = PEER_pytorch.PEER(
        12, heads=3, num_experts=25, num_experts_per_head=2, dim_key=5, non_competing_scores=False
    ).double()
    ours = PEER().layer(WIDE, 5, {"heads": 3, "top_k": 2, "keys": 5, "width": 5}).double()
    with torch.no_grad():
        ours.router.query_D2hd.copy_(theirs.to_queries[0].weight.T.unflatten(1, (2, 3, 5)))
        theirs.keys.normal_()
        ours.router.first_hnd.copy_(theirs.keys[:, :, 0])
        ours.router.second_hmd.copy_(theirs.keys[:, :, 1])
        ours.experts.w_in_EDH.copy_(theirs.weight_down_embed.weight.unsqueeze(-1))
        ours.experts.w_out_EHO.copy_(theirs.weight_up_embed.weight.unsqueeze(1))
    x_BTD, found = tokens(inputs=3, length=7), []
    for layer in (ours, theirs):
        of_x_BTD = x_BTD.clone().requires_grad_()
        y_BTO = layer(of_x_BTD)
        y_BTO.square().sum().backward()
        found.append([y_BTO, of_x_BTD.grad])
    found[0] += [ours.experts.w_in_EDH.grad[..., 0], ours.router.first_hnd.grad, ours.router.query_D2hd.grad.flatten(1)]
    found[1] += [theirs.weight_down_embed.weight.grad, theirs.keys.grad[:, :, 0], theirs.to_queries[0].weight.grad.T]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


# MoE++


def test_the_zero_expert_is_a_choice_that_does_not_count():
    """Two MLPs, a constant, a copy, and nothing; K = 2."""
    gate = ZeroGate(2, 2, 0.75, balance=False)
    logits_BTR = torch.tensor([[[3.0, 0, 0, 0, 1], [0, 0, 0, 2, 1], [0, 5, 4, 0, 0]]])
    gated = gate(logits_BTR)
    assert gated.wanted_BTK.tolist() == [[[True, False], [True, False], [True, True]]]
    assert gated.chosen_BTK[gated.wanted_BTK].tolist() == [0, 3, 1, 2]
    assert gated.weight_BTK[0, 0].tolist() == pytest.approx([0.8807971, 0.1192029])
    assert gate.among(logits_BTR, torch.ones(1, 4, dtype=torch.bool)).wanted_BTK.tolist() == gated.wanted_BTK.tolist()


def test_the_balance_of_unlike_experts_is_1_where_loads_are_inverse_to_prices():
    """Prices 1, 1/2: the second gets two of three choices."""
    probability_BTE = torch.tensor([[1.0, 2.0]]).div(3).expand(1, 3, -1)
    chosen_BTK = torch.tensor([[[0], [1], [1]]])
    price_E = torch.tensor([1.0, 0.5])
    assert float(balance_loss(probability_BTE, chosen_BTK, None, price_E)) == pytest.approx(1)
    assert float(balance_loss(probability_BTE.flip(-1), 1 - chosen_BTK, None, price_E)) > 1.2
    assert float(balance_loss(probability_BTE, chosen_BTK, None, torch.ones(2))) == pytest.approx(
        float(balance_loss(probability_BTE, chosen_BTK))
    )


def moe_pp_slow(layer, x_D):
    p_R = (x_D @ layer.router.weight_DE).softmax(0)
    weight_K, chosen_K = p_R.topk(2)
    total = torch.zeros_like(x_D)
    for weight, r in zip(weight_K / weight_K.sum(), chosen_K.tolist(), strict=True):
        if r < 3:
            given_D = expert(layer.experts, r, x_D)
        elif r < 5:
            mix_2 = (x_D @ layer.mix_CD2[r - 3]).softmax(0)
            given_D = mix_2[0] * x_D + mix_2[1] * layer.constant_CD[r - 3]
        else:
            given_D = x_D if r == 5 else 0 * x_D
        total = total + weight * given_D
    return total


def test_moe_pp_is_its_equation():
    layer, x_BTD = built(MoEPP, shape=WIDE, experts=3), tokens(inputs=3, length=11)
    theirs_BTD = torch.stack([torch.stack([moe_pp_slow(layer, x_D) for x_D in x_TD]) for x_TD in x_BTD])
    ours_BTD = layer(x_BTD)
    torch.testing.assert_close(ours_BTD, theirs_BTD, rtol=1e-9, atol=1e-11)
    chosen = layer.gate.plain(layer.router(x_BTD)).chosen_BTK.unique().tolist()
    assert chosen == list(range(7)), "every kind of expert takes part"
    probe = torch.randn_like(ours_BTD)
    grads = (torch.autograd.grad((y_BTD * probe).sum(), [*layer.parameters()]) for y_BTD in (ours_BTD, theirs_BTD))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_moe_pp_quotes_the_most_that_it_can_cost():
    shape = LayerShape(dim=12, out_dim=12, tokens=4)
    layer = built(MoEPP, shape=shape, experts=4)
    of_mlp = 12 * 5 + 5 + 5 * 12 + 12
    router, constants = 12 * (4 + 2 + 2), 2 * 12 + 2 * 12 * 2
    assert sum(p.numel() for p in layer.parameters()) == router + constants + 4 * of_mlp
    # Two of the MLPs, and constants as parts that always act.
    assert active_parameters(layer) == router + 2 * of_mlp + constants
    assert count_flops(layer, shape) == 4 * (2 * 2 * 2 * 12 * 5 + 2 * 12 * 8 + 2 * 2 * 12 * 2)


def test_a_masked_constant_leaves_no_trace():
    layer, x_BTD = perturb(built(MoEPP, shape=WIDE, experts=3)).eval(), tokens()
    keep_BE = torch.ones(2, 6, dtype=torch.bool)
    keep_BE[:, 3] = False
    routing = layer.route(x_BTD, Context())
    before = layer.compute(x_BTD, routing, keep_BE)
    with torch.no_grad():
        layer.constant_CD[0] = torch.nan
        layer.mix_CD2[0] = torch.nan
    assert torch.equal(layer.compute(x_BTD, routing, keep_BE), before)
    assert routing.mass_BE[:, 3].any()


# Lory


def test_lory_merges_by_the_mean_of_the_segment_before():
    layer, x_BTD = built(Lory, experts=3, segment=2), tokens(inputs=2, length=5).requires_grad_()
    want = []
    for x_TD in x_BTD:
        for start in (0, 2, 4):
            before_D = torch.zeros(12, dtype=torch.float64) if start == 0 else x_TD[start - 2 : start].mean(0)
            p_E = (before_D @ layer.router.weight_DE).softmax(0)
            w_in, b_in, w_out, b_out = (
                torch.einsum("e,e...->...", p_E, stack) for stack in layer.experts.stacks if stack is not None
            )
            want += [torch.nn.functional.gelu(x_D @ w_in + b_in) @ w_out + b_out for x_D in x_TD[start : start + 2]]
    y_BTO = layer(x_BTD)
    want_BTO = torch.stack(want).view_as(y_BTO)
    torch.testing.assert_close(y_BTO, want_BTO, rtol=1e-9, atol=1e-11)
    probe_BTO, of = torch.randn_like(y_BTO), [x_BTD, *layer.parameters()]
    grads = [torch.autograd.grad((each * probe_BTO).sum(), of) for each in (y_BTO, want_BTO)]
    torch.testing.assert_close(*grads, rtol=1e-8, atol=1e-10)
    share_BTE = layer.route(x_BTD, Context()).combine_BTE
    torch.testing.assert_close(share_BTE[:, :2], torch.full((2, 2, 3), 1 / 3, dtype=torch.float64))
    torch.testing.assert_close(share_BTE[:, 2], share_BTE[:, 3])
    assert not torch.allclose(share_BTE[:, 2], share_BTE[:, 4])


@pytest.mark.parametrize("settings", [{}, {"segment": 3}, {"experts": 3, "segment": 16}])
def test_lory_looks_at_no_later_token(settings):
    torch.manual_seed(0)
    layer = perturb(Lory().layer(LayerShape(dim=12, out_dim=12, tokens=9, causal=True), 5, settings))
    assert find_leak(layer, tokens(length=9).float(), 3 * tokens(seed=5, length=9).float()) is None


def test_padding_has_no_part_in_the_mean_of_a_segment():
    layer, x_BTD = built(Lory, experts=3, segment=3), tokens(inputs=1, length=8)
    mask_BT = torch.tensor([[True, True, False, True, True, True, False, False]])
    other_BTD = torch.where(mask_BT.unsqueeze(-1), x_BTD, torch.nan)
    routing, other = (layer.route(each, Context(mask_BT)) for each in (x_BTD, other_BTD))
    assert torch.equal(routing.combine_BTE, other.combine_BTE)
    torch.testing.assert_close(routing.mass_BE.sum(1), torch.tensor([5.0], dtype=torch.float64))
    p_E = (x_BTD[0, :2].mean(0) @ layer.router.weight_DE).softmax(0)
    torch.testing.assert_close(routing.combine_BTE[0, 3], p_E)
    y_BTO, before = layer.compute(x_BTD, routing), layer(x_BTD[:, :2])
    torch.testing.assert_close(y_BTO[:, :2], before)


@pytest.mark.parametrize("backend", ["grouped", "padded", "onednn", "auto"])
@pytest.mark.parametrize(
    ("variant", "settings"), [(PEER, {"heads": 3, "top_k": 4, "keys": 5}), (MoEPP, {}), (Lory, {"segment": 3})], ids=str
)
def test_a_backend_is_the_loop_in_outputs_losses_and_every_gradient(variant, settings, backend):
    found = []
    for name in ("loop", backend):
        layer, x_BTD = built(variant, shape=WIDE, **settings).float(), tokens(length=7).float().requires_grad_()
        choose(layer, name)
        routing = layer.route(x_BTD, Context())
        y_BTO = layer.compute(x_BTD, routing)
        loss = y_BTO.square().sum() + sum(routing.losses.values())
        found.append([y_BTO, loss, *torch.autograd.grad(loss, [x_BTD, *layer.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "settings", "words"),
    [
        (PEER, {"top_k": 9}, "top_k must be at most 8"),
        (PEER, {"heads": 0}, "heads must be a whole number"),
        (PEER, {"width": 0}, "width must be a whole number"),
        (MoEPP, {"tau": 0}, "tau must be above 0 and at most 1"),
        (MoEPP, {"constants": 0}, "constants must be a whole number"),
        (MoEPP, {"top_k": 9}, "top_k must be at most 8"),
        (Lory, {"segment": 0}, "segment must be a whole number"),
        (Lory, {"experts": 0}, "experts must be a whole number"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(variant, settings, words):
    with pytest.raises(ValueError, match=words):
        built(variant, shape=WIDE, **settings)


def test_moe_pp_has_no_place_where_outputs_are_wider():
    with pytest.raises(ValueError, match="a copy keeps its width, the host asks 12->7"):
        built(MoEPP)
