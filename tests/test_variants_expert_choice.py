"""Expert choice against the equation, expert by expert."""

import math

import pytest
import torch

from moebench.budgets.count import active_parameters
from moebench.contract import Context, LayerShape
from moevariants.expert_choice import ExpertChoice


def build(size=5, dim=4, out_dim=3, tokens=None, **settings):
    torch.manual_seed(0)
    shape = LayerShape(dim=dim, out_dim=out_dim, tokens=tokens)
    layer = ExpertChoice().layer(shape, size, {"experts": 5, **settings}).double()
    layer.router.weight_DE.data.mul_(3)
    return layer


def expert(layer, e, z_D):
    bank = layer.experts
    return bank.activate(z_D @ bank.w_in_EDH[e] + bank.b_in_EH[e]) @ bank.w_out_EHO[e] + bank.b_out_EO[e]


def reference(layer, x_TD, factor):
    """y_TO, mass_E and how often each token was taken, of one input."""
    tokens, num_experts = len(x_TD), layer.num_experts
    p_TE = (x_TD @ layer.router.weight_DE).softmax(1)
    places = min(tokens, math.ceil(tokens * factor / num_experts))
    y_TO, mass_E, taken_T = [torch.zeros(3, dtype=torch.float64) for _ in range(tokens)], [], [0] * tokens
    for e in range(num_experts):
        best = sorted(range(tokens), key=lambda t: (-p_TE[t, e].item(), t))[:places]
        for t in best:
            y_TO[t] = y_TO[t] + p_TE[t, e] * expert(layer, e, x_TD[t])
            taken_T[t] += 1
        mass_E.append(sum(p_TE[t, e].item() for t in best))
    return torch.stack(y_TO), torch.tensor(mass_E, dtype=torch.float64), taken_T


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0, 9.0])
def test_layer_is_the_equation_in_value_gradient_and_mass(factor):
    layer = build(capacity=factor)
    x_BTD = torch.randn(3, 7, 4, dtype=torch.float64, requires_grad=True)
    routing = layer.route(x_BTD, Context())
    y_BTO = layer.compute(x_BTD, routing)
    found = [reference(layer, x_TD, factor) for x_TD in x_BTD]
    expected_BTO = torch.stack([y_TO for y_TO, _, _ in found])
    torch.testing.assert_close(y_BTO, expected_BTO)
    torch.testing.assert_close(routing.mass_BE, torch.stack([mass_E for _, mass_E, _ in found]))
    torch.testing.assert_close(routing.combine_BTE.sum(1), routing.mass_BE)
    probe_BTO, wanted = torch.randn_like(y_BTO), [x_BTD, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((y_BTO * probe_BTO).sum(), wanted),
        torch.autograd.grad((expected_BTO * probe_BTO).sum(), wanted),
    )


def test_every_expert_has_as_many_tokens_and_a_token_none_or_several():
    layer = build(capacity=1.0)
    x_BTD = torch.randn(1, 10, 4, dtype=torch.float64)
    *_, taken_T = reference(layer, x_BTD[0], 1.0)
    assert sum(taken_T) == 5 * 2
    assert min(taken_T) == 0
    assert max(taken_T) > 1
    assert not layer(x_BTD)[0, taken_T.index(0)].any()
    combine_BTE = layer.route(x_BTD, Context()).combine_BTE
    assert (combine_BTE > 0).sum(1).tolist() == [[2] * 5]
    assert (combine_BTE > 0).sum(2)[0].tolist() == taken_T


def test_equal_tokens_are_taken_in_their_order():
    layer = build(capacity=1.0)
    x_BTD = torch.ones(1, 10, 4, dtype=torch.float64)
    assert layer.route(x_BTD, Context()).taken_BEc.tolist() == [[[0, 1]] * 5]


@pytest.mark.parametrize(
    ("tokens", "capacity", "mean"),
    [(None, 2.0, 2.0), (None, 9.0, 5.0), (10, 2.0, 2.0), (7, 2.0, 5 * 3 / 7), (7, 0.1, 5 / 7)],
)
def test_active_parameters_are_those_of_the_mean_token(tokens, capacity, mean):
    layer = build(tokens=tokens, capacity=capacity)
    assert layer.mean_experts_per_token() == pytest.approx(mean)
    of_experts = sum(p.numel() for p in layer.experts.parameters())
    assert active_parameters(layer) == pytest.approx(4 * 5 + of_experts * mean / 5, abs=1)


@pytest.mark.parametrize("capacity", [0, -1, "all", True])
def test_a_capacity_is_a_factor_above_0(capacity):
    with pytest.raises(ValueError, match="expert_choice: capacity must be a"):
        build(capacity=capacity)
