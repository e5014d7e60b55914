"""Auxiliary losses against numbers worked by hand."""

import math

import pytest
import torch

from moevariants.parts import balance_loss, importance_loss, load_loss, z_loss

# Two inputs of two tokens, two experts, one choice.
PROBABILITY_BTE = torch.tensor([[[0.75, 0.25], [0.5, 0.5]], [[0.25, 0.75], [0.9, 0.1]]])
CHOSEN_BTK = torch.tensor([[[0], [0]], [[1], [0]]])
LAST_IS_PADDING_BT = torch.tensor([[True, True], [True, False]])


def test_balance_is_taken_over_the_batch_and_not_per_input():
    # f = (3/4, 1/4), P = (2.4/4, 1.6/4) = (0.6, 0.4): 2 (0.45 + 0.1) = 1.1.
    # Per input: 2 (1 * 0.625) = 1.25 and 2 (0.5 * 0.575 + 0.5 * 0.425) = 1, on average 1.125.
    assert balance_loss(PROBABILITY_BTE, CHOSEN_BTK).item() == pytest.approx(1.1)


def test_balance_leaves_padding_out():
    # Three tokens: f = (2/3, 1/3), P = (1.5/3, 1.5/3): 2 (1/3 + 1/6) = 1.
    assert balance_loss(PROBABILITY_BTE, CHOSEN_BTK, LAST_IS_PADDING_BT).item() == pytest.approx(1.0)


def test_balance_divides_by_the_number_of_choices():
    # Three experts, two choices: f = (2, 1, 1) / 4, P = (0.5, 0.3, 0.2): 3 (0.25 + 0.075 + 0.05) = 1.125.
    probability_BTE = torch.tensor([[[0.6, 0.3, 0.1], [0.4, 0.3, 0.3]]])
    chosen_BTK = torch.tensor([[[0, 1], [0, 2]]])
    assert balance_loss(probability_BTE, chosen_BTK).item() == pytest.approx(1.125)


def test_balance_gradient_is_the_share_of_choices():
    # d loss / d p[n, e] = E f_e / tokens = 2 (3/4, 1/4) / 4.
    probability_BTE = PROBABILITY_BTE.clone().requires_grad_()
    balance_loss(probability_BTE, CHOSEN_BTK).backward()
    assert probability_BTE.grad[0, 0].tolist() == pytest.approx([0.375, 0.125])


def test_importance_uses_the_population_variance():
    # P = (0.6, 0.4): mean 0.5, population variance 0.01, over 0.25: 0.04 (0.08 with the sample variance).
    assert importance_loss(PROBABILITY_BTE).item() == pytest.approx(0.04)
    assert importance_loss(PROBABILITY_BTE, LAST_IS_PADDING_BT).item() == pytest.approx(0.0, abs=1e-7)


def test_load_is_the_chance_under_fresh_noise():
    # Noise 0.5. Token 0: clean (0, 0), threshold 0.25: both 1 - cdf(0.5) = 0.308538.
    # Token 1: clean (1, 0), threshold 1: 1 - cdf(0) = 0.5 and 1 - cdf(2) = 0.022750.
    # Means (0.404269, 0.165644), over both 0.284956, deviation 0.119312: (0.119312 / 0.284956)^2 = 0.175313.
    logits_BTE = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    noisy_BTE = torch.tensor([[[0.25, -0.25], [1.0, 0.0]]])
    chosen_BTK = torch.zeros(1, 2, 1, dtype=torch.long)
    assert load_loss(logits_BTE, noisy_BTE, chosen_BTK, 0.5).item() == pytest.approx(0.175313, abs=1e-5)
    only_first = torch.tensor([[True, False]])
    assert load_loss(logits_BTE, noisy_BTE, chosen_BTK, 0.5, only_first).item() == pytest.approx(0.0, abs=1e-7)


def test_load_threshold_is_the_last_choice():
    # K = 2: the threshold is the second largest noisy logit, 0: 1 - cdf(-1), 1 - cdf(0), 1 - cdf(1) for noise
    # 1: 0.841345, 0.5, 0.158655: mean 0.5, variance 0.077678, over 0.25: 0.310710.
    logits_BTE = torch.tensor([[[1.0, 0.0, -1.0]]])
    chosen_BTK = torch.tensor([[[0, 1]]])
    assert load_loss(logits_BTE, logits_BTE, chosen_BTK, 1.0).item() == pytest.approx(0.310710, abs=1e-5)


def test_load_without_noise_is_refused():
    with pytest.raises(ValueError, match="undefined without noise"):
        load_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 1, dtype=torch.long), 0.0)


def test_z_is_the_mean_squared_log_partition():
    # logsumexp(0, 0) = ln 2 and logsumexp(ln 3, 0) = ln 4: ((ln 2)^2 + (ln 4)^2) / 2.
    logits_BTE = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]])
    expected = (math.log(2) ** 2 + math.log(4) ** 2) / 2
    assert z_loss(logits_BTE).item() == pytest.approx(expected)
    assert z_loss(logits_BTE, torch.tensor([[True, False]])).item() == pytest.approx(math.log(2) ** 2)


def test_losses_are_float32_scalars_under_autocast():
    exact = balance_loss(PROBABILITY_BTE, CHOSEN_BTK)
    with torch.autocast("cpu", torch.bfloat16):
        values = [
            balance_loss(PROBABILITY_BTE, CHOSEN_BTK),
            importance_loss(PROBABILITY_BTE),
            z_loss(PROBABILITY_BTE),
            load_loss(PROBABILITY_BTE, PROBABILITY_BTE, CHOSEN_BTK, 0.5),
        ]
    assert all(value.dtype == torch.float32 and value.shape == () for value in values)
    assert torch.equal(values[0], exact)


def test_a_batch_of_padding_alone_has_finite_balance():
    nothing_BT = torch.zeros(2, 2, dtype=torch.bool)
    assert balance_loss(PROBABILITY_BTE, CHOSEN_BTK, nothing_BT).item() == 0.0
    assert z_loss(PROBABILITY_BTE, nothing_BT).item() == 0.0
