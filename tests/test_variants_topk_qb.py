"""Quantile balancing: the bias is what the last step's tokens say, sets the choice alone, and evens the load."""

import pytest
import torch

from moebench.contract import Context, LayerShape
from moevariants.parts.gates import QuantileGate
from moevariants.random_balanced import RandomBalanced, RandomBalancedDetached
from moevariants.topk_qb import TopKQB


def skewed(tokens, experts, by=2.0, seed=0):
    """logits_BTE of one input, in which later experts score higher."""
    logits_NE = torch.randn(tokens, experts, generator=torch.Generator().manual_seed(seed))
    return (logits_NE + by * torch.linspace(-1, 1, experts)).unsqueeze(0)


def loads(gate, logits_BTE):
    chosen_BTK = gate(logits_BTE).chosen_BTK
    return torch.bincount(chosen_BTK.flatten(), minlength=logits_BTE.shape[-1])


def stepped(gate, logits_BTE, steps=1):
    for _ in range(steps):
        gate.train()(logits_BTE)
        gate.after_step()
    return gate.eval()


def by_hand(logits_NE, bias_E, top_k):
    """The new bias, expert by expert, by sorting."""
    alphas = [sorted((row + bias_E).tolist(), reverse=True)[top_k] for row in logits_NE]
    quota = len(logits_NE) * top_k // len(bias_E)
    margins = [(row - alpha).tolist() for row, alpha in zip(logits_NE, alphas, strict=True)]
    new_E = torch.tensor([-sorted(column, reverse=True)[quota - 1] for column in zip(*margins, strict=True)])
    return new_E - new_E.mean()


@pytest.mark.parametrize(("experts", "top_k"), [(4, 1), (6, 2), (5, 3)])
def test_the_bias_is_that_of_the_definition_and_replaces_the_last_one(experts, top_k):
    gate, bias_E = QuantileGate(experts, top_k, renormalise=False), torch.zeros(experts)
    for seed in range(3):
        logits_BTE = skewed(23, experts, seed=seed)
        bias_E = by_hand(logits_BTE[0], bias_E, top_k)
        stepped(gate, logits_BTE)
        torch.testing.assert_close(gate.bias_E, bias_E)
    assert gate.bias_E.dtype == torch.float32
    assert gate.bias_E.mean().abs() < 1e-6


def test_an_expert_that_all_want_gets_less_bias():
    gate = stepped(QuantileGate(3, 1, renormalise=False), torch.tensor([[[3.0, 0, 1]] * 6]))
    assert gate.bias_E[0] < gate.bias_E[2] < gate.bias_E[1]


def test_one_update_evens_the_load_of_two_experts():
    gate, logits_BTE = QuantileGate(2, 1, renormalise=False), skewed(301, 2)
    assert loads(gate.eval(), logits_BTE)[1] > 250
    assert (loads(stepped(gate, logits_BTE), logits_BTE) - 301 / 2).abs().max() <= 1


@pytest.mark.parametrize(("experts", "top_k"), [(4, 1), (8, 2), (16, 2)])
def test_one_update_leaves_a_fair_share_of_tokens_above_what_they_needed(experts, top_k):
    gate, logits_BTE = QuantileGate(experts, top_k, renormalise=False).double(), skewed(1_000, experts).double()
    alpha_N1, quota = logits_BTE[0].topk(top_k + 1).values[:, -1:], 1_000 * top_k // experts
    before = (loads(gate.eval(), logits_BTE) - quota).abs().max()
    stepped(gate, logits_BTE)
    # Centring moves all biases by as much, which changes no choice.
    moved = gate.bias_E - gate.bias_E[0] - (logits_BTE[0, :, 0] - alpha_N1[:, 0]).kthvalue(1_001 - quota).values
    surplus_NE = logits_BTE[0] + moved - alpha_N1
    assert ((surplus_NE > 1e-9).sum(0) <= quota).all()
    assert ((surplus_NE > -1e-9).sum(0) >= quota).all()
    assert (loads(gate, logits_BTE) - quota).abs().max() < before / 1.5


@pytest.mark.parametrize(("experts", "top_k"), [(4, 1), (8, 2), (16, 2)])
def test_updates_on_the_same_logits_even_every_load_to_a_token(experts, top_k):
    gate, logits_BTE = QuantileGate(experts, top_k, renormalise=False), skewed(1_000, experts)
    stepped(gate, logits_BTE, steps=40)
    assert (loads(gate, logits_BTE) - 1_000 * top_k / experts).abs().max() <= 2


def test_evaluation_changes_nothing_and_a_step_is_used_once():
    gate, logits_BTE = QuantileGate(4, 2, renormalise=True), skewed(50, 4)
    gate.eval()(logits_BTE)
    gate.after_step()
    assert not gate.bias_E.any()
    stepped(gate, logits_BTE)
    once = gate.bias_E.clone()
    gate.after_step()
    assert torch.equal(gate.bias_E, once)
    gate.train().among(logits_BTE, torch.ones(1, 4, dtype=torch.bool))
    gate.after_step()
    assert torch.equal(gate.bias_E, once)


def test_micro_batches_of_a_step_are_one_batch_and_padding_is_no_token():
    logits_BTE = skewed(60, 4).view(6, 10, 4)
    whole, parts, padded = (QuantileGate(4, 2, renormalise=True) for _ in range(3))
    whole.train()(logits_BTE)
    for part in logits_BTE.split(2):
        parts.train()(part)
    mask_BT = torch.arange(12).expand(6, -1) < 10
    padded.train()(torch.cat([logits_BTE, 99 * torch.ones(6, 2, 4)], 1), mask_BT)
    for gate in (whole, parts, padded):
        gate.after_step()
    assert whole.bias_E.any()
    torch.testing.assert_close(parts.bias_E, whole.bias_E)
    torch.testing.assert_close(padded.bias_E, whole.bias_E)


def test_the_bias_changes_the_choice_and_never_the_weights():
    gate, logits_BTE = QuantileGate(3, 2, renormalise=True), torch.tensor([[[2.0, 1.0, 0.0]]])
    s = logits_BTE.sigmoid()[0, 0].tolist()
    gate.bias_E.copy_(torch.tensor([-3.0, 0.0, 1.5]))
    gated = gate(logits_BTE)
    assert gated.chosen_BTK.tolist() == [[[2, 1]]]
    assert gated.weight_BTK[0, 0].tolist() == pytest.approx([s[2] / (s[1] + s[2]), s[1] / (s[1] + s[2])])
    assert gated.losses == {}
    plain = QuantileGate(3, 2, renormalise=False)(logits_BTE)
    assert plain.weight_BTK[0, 0].tolist() == pytest.approx(s[:2])


@pytest.mark.parametrize("tokens", [1, 2, 0])
def test_a_few_tokens_and_experts_that_all_are_chosen_do_no_harm(tokens):
    gate = QuantileGate(8, 1, renormalise=False)
    gate.train()(torch.randn(1, tokens, 8))
    gate.after_step()
    assert gate.bias_E.isfinite().all()
    every = QuantileGate(2, 2, renormalise=True)
    every.train()(torch.randn(1, 5, 2))
    every.after_step()
    assert not every.bias_E.any()


SHAPE = LayerShape(dim=8, out_dim=8, tokens=5)


def test_the_frozen_routers_keep_their_weights_and_move_their_bias():
    for variant, steered in ((RandomBalanced(), True), (RandomBalancedDetached(), False)):
        torch.manual_seed(0)
        layer = variant.layer(SHAPE, 4, {"experts": 4}).train()
        x_BTD = torch.randn(6, 5, 8, requires_grad=True)
        routing = layer.route(x_BTD + 1, Context())
        assert routing.weight_BTK.requires_grad == steered
        assert not any(parameter.requires_grad for parameter in layer.router.parameters())
        layer.after_step()
        assert layer.gate.bias_E.any()


def test_the_three_are_one_layer_in_the_forward_pass():
    outputs = []
    for variant in (TopKQB(), RandomBalanced(), RandomBalancedDetached()):
        torch.manual_seed(0)
        layer = variant.layer(SHAPE, 4, {"experts": 4}).train()
        x_BTD = torch.randn(6, 5, 8)
        layer(x_BTD)
        layer.after_step()
        outputs.append(layer(x_BTD))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
