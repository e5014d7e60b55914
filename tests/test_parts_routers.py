"""Scores and choices: precision, ties, normalisation."""

import pytest
import torch

from moevariants.parts import (
    LinearRouter,
    SoftRouter,
    choose_top_k,
    gate_weights,
    l2_normalise,
    soft_weights,
    softmax_over_experts,
)


@pytest.mark.parametrize("num_experts", [1, 3, 8, 64])
def test_choice_is_a_stable_descending_sort(num_experts):
    torch.manual_seed(0)
    logits_BTE = torch.randint(0, 5, (3, 7, num_experts)).float()  # many ties
    top_k = min(num_experts, 4)
    order_BTE = logits_BTE.sort(dim=-1, descending=True, stable=True).indices
    assert torch.equal(choose_top_k(logits_BTE, top_k), order_BTE[..., :top_k])


@pytest.mark.parametrize("num_experts", [1, 2, 8, 15, 16, 64])
def test_softmax_over_experts_is_softmax(num_experts):
    torch.manual_seed(0)
    logits_BTE = torch.randn(2, 5, num_experts, requires_grad=True)
    probe_BTE = torch.randn(2, 5, num_experts)
    mine_BTE, oracle_BTE = softmax_over_experts(logits_BTE), logits_BTE.softmax(-1)
    torch.testing.assert_close(mine_BTE, oracle_BTE)
    torch.testing.assert_close(
        torch.autograd.grad((mine_BTE * probe_BTE).sum(), logits_BTE),
        torch.autograd.grad((oracle_BTE * probe_BTE).sum(), logits_BTE),
    )


def test_renormalising_one_choice_is_refused():
    probability_BTE = torch.full((1, 2, 3), 1 / 3)
    with pytest.raises(ValueError, match="single choice"):
        gate_weights(probability_BTE, torch.zeros(1, 2, 1, dtype=torch.long), renormalise=True)


def test_weights_are_renormalised_only_when_asked():
    probability_BTE = torch.tensor([[[0.5, 0.3, 0.2]]])
    chosen_BTK = torch.tensor([[[0, 1]]])
    assert gate_weights(probability_BTE, chosen_BTK, renormalise=False).tolist() == [[[0.5, pytest.approx(0.3)]]]
    assert gate_weights(probability_BTE, chosen_BTK, renormalise=True).tolist() == [
        [[pytest.approx(0.625), pytest.approx(0.375)]]
    ]


@pytest.mark.parametrize("router", [LinearRouter(8, 4), SoftRouter(8, 4, False), SoftRouter(8, 4, True)])
def test_logits_stay_in_float32_under_autocast(router):
    x_BTD = 30 * torch.randn(2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        logits_BTE = router(x_BTD)
        assert torch.is_autocast_enabled("cpu")
    assert logits_BTE.dtype == torch.float32
    assert torch.equal(logits_BTE, router(x_BTD))


def test_logits_of_bfloat16_tokens_are_float32_and_of_float64_stay_float64():
    router = LinearRouter(8, 4)
    x_BTD = torch.randn(2, 5, 8)
    assert router(x_BTD.bfloat16()).dtype == torch.float32
    assert router.double()(x_BTD.double()).dtype == torch.float64


def test_l2_epsilon_is_inside_the_root():
    # sqrt(9e-6 + 16e-6 + 1e-6): 3e-3 / 5.099e-3. An epsilon outside the root would give 0.5999.
    x_D = torch.tensor([3e-3, 4e-3], dtype=torch.float64)
    assert l2_normalise(x_D, axis=0)[0].item() == pytest.approx(3e-3 / 26e-6**0.5, rel=1e-9)
    assert not l2_normalise(torch.zeros(3), axis=0).any()


def test_phi_starts_with_deviation_one_over_root_of_width():
    torch.manual_seed(0)
    assert SoftRouter(100, 200, False).phi_DS.std().item() == pytest.approx(0.1, rel=0.03)


def test_normalising_router_forgets_the_length_of_tokens_and_phi():
    torch.manual_seed(0)
    router, x_BTD = SoftRouter(6, 4, True).double(), torch.randn(2, 3, 6, dtype=torch.float64)
    before = router(x_BTD)
    with torch.no_grad():
        router.phi_DS.mul_(1000)
    torch.testing.assert_close(router(x_BTD * 1000), before, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        router.scale.mul_(3)
    torch.testing.assert_close(router(x_BTD * 1000), 3 * before, rtol=1e-4, atol=1e-4)


def test_padding_is_left_out_of_both_softmaxes():
    torch.manual_seed(0)
    logits_BTS = torch.randn(3, 5, 4)
    mask_BT = torch.arange(5) < torch.tensor([[5], [2], [0]])
    dispatch_BTS, combine_BTS = soft_weights(logits_BTS, mask_BT)
    torch.testing.assert_close(dispatch_BTS[1, :2], logits_BTS[1, :2].softmax(0))
    torch.testing.assert_close(combine_BTS[1, :2], logits_BTS[1, :2].softmax(1))
    assert not dispatch_BTS[~mask_BT].any()
    assert not combine_BTS[~mask_BT].any()
    assert dispatch_BTS.isfinite().all()
