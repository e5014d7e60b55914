"""The pairs of Theorem 1: their constants by hand, and the proved bound against layers built to break it."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from moebench.contract import LayerShape
from moebench.errors import UsageError
from moestudies.theorem import RouterWeights, allowance, pairs, router_weights
from moestudies.theorem.pairs import best_direction, equal_means, largest_wins
from moevariants.soft_moe import SoftMoE

EPS = 1e-6
"""Inside the root of the router's l2 norm, as in arXiv 2308.00951."""

OVERFLOW = 300.0
"""An exponent beyond which the bound is useless anyway."""


def soft_moe(phi_DS, *, tokens=2, slots=1, scale=None, bias=True, stretch=1.0, hidden=6, seed=0):
    """A float64 layer with this router, and experts whose weights are ``stretch`` times as large as usual."""
    phi_DS = torch.as_tensor(phi_DS, dtype=torch.float64)
    dim, all_slots = phi_DS.shape
    torch.manual_seed(seed)
    shape = LayerShape(dim=dim, out_dim=dim, tokens=tokens, activation="relu", bias=bias)
    settings = {"experts": all_slots // slots, "slots": slots, "normalise": scale is not None}
    layer = SoftMoE().layer(shape, hidden, settings).double()
    with torch.no_grad():
        layer.router.phi_DS.copy_(phi_DS)
        for parameter in layer.experts.parameters():
            parameter.mul_(stretch)
        if scale is not None:
            layer.router.scale.fill_(scale)
    return layer


def returning(phi_S, factor_E):
    """D = 1, without biases: expert e returns its input times factor_E[e], as relu(x) - relu(-x) = x."""
    layer = soft_moe([phi_S], bias=False, hidden=2)
    with torch.no_grad():
        layer.experts.w_in_EDH.copy_(torch.tensor([1.0, -1.0]).expand(len(factor_E), 1, 2))
        layer.experts.w_out_EHO.copy_(torch.tensor([[[factor], [-factor]] for factor in factor_E]))
    return layer


def constants(layer):
    """A Lipschitz constant of all experts, and the largest ||f(0)||; ReLU has slope 1 at most."""
    bank = layer.experts
    with torch.no_grad():
        norms_E = torch.linalg.matrix_norm(bank.w_in_EDH, 2) * torch.linalg.matrix_norm(bank.w_out_EHO, 2)
        if bank.b_in_EH is None:
            return norms_E.max().item(), 0.0
        at_zero_EO = (bank.b_in_EH.relu().unsqueeze(1) @ bank.w_out_EHO).squeeze(1) + bank.b_out_EO
        return norms_E.max().item(), at_zero_EO.norm(dim=1).max().item()


def bound(layer, family, scale_N, lipschitz, at_zero):
    """What is proved: ||layer(A) - layer(B)||_2 at each scale is at most this (docs/paper.md, step 4).

    The experts satisfy ||f(x) - f(y)|| <= lipschitz ||x - y|| and ||f(0)|| <= at_zero. Each input is within sqrt(T)
    times what one row can differ by from the common limit F.
    """
    router, others = router_weights(layer), family.tokens - 1

    def plain(share):
        # The shift of the slots in J, and the weight outside J.
        direction = best_direction(router.phi_DS, *family.shares)
        shift_N = (1 - share) * others * np.exp(-scale_N * (1 - share) * direction.top)
        outside_N = (router.phi_DS.shape[1] - 1) * np.exp(-scale_N * share * direction.lead)
        return lipschitz * scale_N * shift_N + 2 * (at_zero + lipschitz * scale_N) * outside_N

    def normalising(share):
        # O(1/a), not exponential, because of eps.
        blur_N = np.minimum(abs(router.scale or 0.0) * EPS / (2 * (share * scale_N) ** 2), OVERFLOW)
        largest_N = at_zero + lipschitz * scale_N * np.exp(blur_N)
        return lipschitz * scale_N * np.expm1(blur_N) + largest_N * np.expm1(2 * blur_N)

    row = plain if family.coefficients is largest_wins else normalising
    return math.sqrt(family.tokens) * sum(row(share) for share in family.shares)


def outputs(layer, family, scale_N):
    a_NTD, b_NTD = family.at(scale_N)
    with torch.no_grad():
        y_a, y_b = layer(torch.from_numpy(a_NTD)), layer(torch.from_numpy(b_NTD))
    return (y_a - y_b).flatten(1).norm(dim=1).numpy(), np.abs(norms(a_NTD) - norms(b_NTD))


def norms(x_NTD):
    return np.linalg.norm(x_NTD.reshape(len(x_NTD), -1), axis=1)


def random_phi(dim, slots, seed=0):
    return np.random.default_rng(seed).standard_normal((dim, slots)) / math.sqrt(dim)


def with_zero_columns(phi_DS):
    return phi_DS * (np.arange(phi_DS.shape[1]) % 3 != 1)


def with_equal_columns(phi_DS):
    return np.repeat(phi_DS[:, : phi_DS.shape[1] // 2], 2, axis=1)


def nearly_equal_columns(phi_DS):
    return phi_DS[:, :1] + 1e-3 * phi_DS


def all_the_same(phi_DS):
    return np.repeat(phi_DS[:, :1], phi_DS.shape[1], axis=1)


def opposite_columns(phi_DS):
    half_DS = phi_DS[:, : phi_DS.shape[1] // 2]
    return np.concatenate([half_DS, -half_DS], axis=1)


HOSTILE = [
    lambda phi_DS: phi_DS,
    with_zero_columns,
    with_equal_columns,
    nearly_equal_columns,
    all_the_same,
    opposite_columns,
    lambda phi_DS: 1e-3 * phi_DS,
    lambda phi_DS: 0 * phi_DS,
]


def test_one_expert_by_hand():
    # T = 2, D = 1, phi = 1, an expert that returns its input, a = ln 16: tokens a and a/4 have exp(16) and exp(2),
    # tokens a and 3a/4 have 16 and 8. One slot, seen by both rows: (16 a + 2 a/4) / 18 and (16 a + 8 3a/4) / 24.
    layer, a = returning([1.0], [1.0]), math.log(16)
    family = pairs(router_weights(layer), 2, (0.25, 0.75))
    apart_N, norm_gap_N = outputs(layer, family, np.array([a]))
    assert apart_N[0] == pytest.approx(math.sqrt(2) * a * (16.5 / 18 - 22 / 24), abs=1e-15) == 0
    assert norm_gap_N[0] == pytest.approx(a * (1.25 - math.sqrt(17) / 4))
    apart_N, _ = outputs(layer, family, np.array([2 * a]))  # exponentials 256, 4 and 64
    slots = (256 + 4 / 4) / 260, (256 + 64 * 3 / 4) / 320
    assert apart_N[0] == pytest.approx(math.sqrt(2) * 2 * a * abs(slots[0] - slots[1]))


@pytest.mark.parametrize("tokens", [2, 3, 5])
def test_coefficients_by_hand(tokens):
    assert largest_wins(0.2, tokens).tolist() == [1.0] + [0.2] * (tokens - 1)
    for share in (0.2, 0.8):
        assert equal_means(share, tokens).sum() == pytest.approx(tokens)
    # No relative error below (sqrt T - 1) / (sqrt T + 1) is possible: the norms come as near to the ratio sqrt T.
    for coefficients in (largest_wins, equal_means):
        lengths = [np.linalg.norm(coefficients(share, tokens)) for share in (1e-9, 1 - 1e-9)]
        assert max(lengths) / min(lengths) == pytest.approx(math.sqrt(tokens))


@pytest.mark.parametrize("change", HOSTILE)
@pytest.mark.parametrize("scale", [None, 1.0, -300.0])
@pytest.mark.parametrize(("tokens", "dim", "slots"), [(2, 1, 1), (2, 2, 2), (3, 2, 1), (5, 4, 2)])
def test_no_router_escapes_and_the_bound_holds(change, scale, tokens, dim, slots):
    scale_N = np.logspace(-1, 7, 41)
    for seed, stretch in ((0, 1.0), (1, 30.0)):
        phi_DS = change(random_phi(dim, 8, seed))
        layer = soft_moe(phi_DS, tokens=tokens, slots=slots, scale=scale, stretch=stretch, seed=seed)
        family = pairs(router_weights(layer), tokens)
        apart_N, norm_gap_N = outputs(layer, family, scale_N)
        lipschitz, at_zero = constants(layer)
        rounding_N = 1e-9 * (lipschitz * scale_N + at_zero)
        assert (apart_N <= bound(layer, family, scale_N, lipschitz, at_zero) + rounding_N).all()
        assert norm_gap_N[-1] > 0.2 * scale_N[-1]
        assert apart_N[-1] < 1e-5 * norm_gap_N[-1]
        assert bound(layer, family, scale_N, lipschitz, at_zero)[-1] < norm_gap_N[-1] / 4


@pytest.mark.parametrize("tokens", [2, 5])
def test_bound_is_what_happens_where_every_row_is_the_slot(tokens):
    layer, scale_N = returning([1.0], [1.0]), np.array([40.0, 60.0])
    family = pairs(router_weights(layer), tokens)
    apart_N, _ = outputs(layer, family, scale_N)
    np.testing.assert_allclose(bound(layer, family, scale_N, 1.0, 0.0), apart_N, rtol=2e-3)


def test_bound_is_near_what_happens_where_one_row_hears_another_expert():
    # Experts x and -x with scores 1 and 1/2: the second row alone hears of the other expert, the bound has both.
    layer, scale_N = returning([1.0, 0.5], [1.0, -1.0]), np.array([150.0, 300.0])
    family = pairs(router_weights(layer), 2, (0.1, 0.5))
    apart_N, _ = outputs(layer, family, scale_N)
    np.testing.assert_allclose(bound(layer, family, scale_N, 1.0, 0.0), math.sqrt(2) * apart_N, rtol=1e-3)


@pytest.mark.parametrize("scale", [None, 1.0, 20.0])
def test_bound_counts_the_combine_weights(scale):
    # Experts that are constants: no slot matters, and the rows differ by their combine weights alone.
    layer, scale_N = soft_moe(random_phi(2, 4), tokens=3, scale=scale), np.logspace(-2, 2, 9)
    with torch.no_grad():
        layer.experts.w_in_EDH.zero_()
        layer.experts.w_out_EHO.zero_()
    family, (lipschitz, at_zero) = pairs(router_weights(layer), 3), constants(layer)
    apart_N, _ = outputs(layer, family, scale_N)
    assert lipschitz == 0
    assert (apart_N[:5] > 1e-9).all()
    assert (apart_N <= bound(layer, family, scale_N, lipschitz, at_zero)).all()


def test_normalised_router_forgets_like_one_over_a():
    layer = soft_moe(random_phi(3, 8), tokens=4, scale=1000.0)
    scale_N = np.array([10.0, 100.0, 1000.0])
    apart_N, _ = outputs(layer, pairs(router_weights(layer), 4), scale_N)
    np.testing.assert_allclose(apart_N[:-1] / apart_N[1:], 10, rtol=0.02)


def test_the_construction_for_the_other_router_fails():
    # Equal means are no secret to a plain router, nor unequal ones to a normalising one.
    scale_N = np.array([1e4])
    plain, l2 = soft_moe(random_phi(3, 8), tokens=3), soft_moe(random_phi(3, 8), tokens=3, scale=1.0)
    for layer, other in ((plain, l2), (l2, plain)):
        apart_N, norm_gap_N = outputs(layer, pairs(router_weights(other), 3), scale_N)
        assert apart_N[0] > 0.01 * norm_gap_N[0]


def test_a_fixed_sum_does_not_see_a_residual_either():
    # Tokens a v (1, 1/2 + d, 1/2 - d): the layer sees the first alone, and x + y adds 2 a v to its sum for every d.
    layer = soft_moe(random_phi(2, 3, seed=4), tokens=3)
    v_D = torch.from_numpy(pairs(router_weights(layer), 3).v_D)
    shares_BT = torch.tensor([[1, 0.55, 0.45], [1, 0.95, 0.05]], dtype=torch.float64)
    x_BTD = 1e4 * shares_BT.unsqueeze(-1) * v_D
    with torch.no_grad():
        first, second = (x_BTD + layer(x_BTD)).sum((1, 2))
    norms_B = norms(x_BTD.numpy())
    assert abs(first - second) < 1e-6
    assert norms_B[1] - norms_B[0] > 1.05 * allowance(norms_B).sum()


def test_direction_is_a_unit_vector_with_a_lead_and_the_same_each_time():
    phi_DS = random_phi(5, 64)
    first, again = best_direction(phi_DS, 0.2, 0.8), best_direction(phi_DS, 0.2, 0.8)
    assert np.array_equal(first.v_D, again.v_D)
    assert np.linalg.norm(first.v_D) == pytest.approx(1)
    scores_S = np.sort(first.v_D @ phi_DS)
    assert (first.top, first.lead) == pytest.approx((scores_S[-1], scores_S[-1] - scores_S[-2]))
    longest_D = phi_DS[:, np.linalg.norm(phi_DS, axis=0).argmax()]
    along_S = np.sort(longest_D / np.linalg.norm(longest_D) @ phi_DS)
    of_longest = min(0.2 * (along_S[-1] - along_S[-2]), 0.2 * along_S[-1])
    assert of_longest > 0
    # The longest column may be the best candidate; its scores come of another product here, and round otherwise.
    assert min(0.2 * first.lead, 0.2 * first.top) >= of_longest * (1 - 1e-12)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_direction_does_not_depend_on_the_size_of_phi(size):
    direction = best_direction(size * np.array([[1.0, -2.0], [0.0, 0.0]]), 0.2, 0.8)
    assert direction.top == pytest.approx(2 * size, rel=0.1)
    assert direction.lead == pytest.approx(3 * size, rel=0.1)


def test_equal_columns_are_no_rivals():
    assert best_direction(np.array([[3.0, 3.0]]), 0.2, 0.8).lead == math.inf
    assert best_direction(np.array([[3.0, 3.0, 0.0]]), 0.2, 0.8).lead == 3


def test_eps_is_that_of_the_layer():
    # l2norm of a token of norm 1 falls short of 1 by half of eps.
    layer = soft_moe([[1e9]], scale=1.0)
    shortfall = 1 - layer.router(torch.ones(1, 1, 1, dtype=torch.float64)).item()
    assert shortfall == pytest.approx(EPS / 2, rel=1e-3)


def test_weights_are_read_off_any_layer_that_has_them():
    plain, l2 = router_weights(soft_moe([[1.0, 2.0]])), router_weights(soft_moe([[1.0, 2.0]], scale=3.0))
    assert (plain.scale, plain.phi_DS.tolist(), l2.scale) == (None, [[1.0, 2.0]], 3.0)


ONE = RouterWeights(np.ones((1, 1)))


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: RouterWeights(np.array([[np.nan]])), "bad-router-weights"),
        (lambda: RouterWeights(np.ones(3)), "bad-router-weights"),
        (lambda: RouterWeights(np.ones((2, 0))), "bad-router-weights"),
        (lambda: RouterWeights(np.ones((1, 1)), math.inf), "bad-router-weights"),
        (lambda: pairs(ONE, 1), "theorem-needs-two-tokens"),
        (lambda: pairs(ONE, 2, (0.5, 0.5)), "bad-shares"),
        (lambda: pairs(ONE, 2, (0.0, 0.5)), "bad-shares"),
        (lambda: router_weights(nn.Linear(2, 2)), "no-soft-moe-router"),
        (lambda: router_weights(None), "no-soft-moe-router"),
    ],
)
def test_what_cannot_be_is_refused(call, code):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.code == code
