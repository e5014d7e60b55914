"""Entmax against its definition, and factors against the tensor that they stand for."""

import pytest
import torch

from moebench.contract import Context, LayerShape
from moebench.hosts.host import restrict
from moevariants.mu_moe import MuMoECP, MuMoETR, entmax15
from moevariants.parts.multilinear import RING, CPLinear, TRLinear

VARIANTS = [MuMoECP, MuMoETR]


def test_entmax_by_hand():
    # Of (2, 0): z / 2 = (1, 0); tau = 0 gives 1 + 0 = 1. Of (0, 0): (0 - tau)^2 = 1/2 each.
    assert entmax15(torch.tensor([2.0, 0.0])).tolist() == pytest.approx([1.0, 0.0])
    assert entmax15(torch.tensor([5.0, 5.0])).tolist() == pytest.approx([0.5, 0.5])
    # Of (1, 0, -9): the support is two; (0.5 - tau)^2 + tau^2 = 1 at tau = (0.5 - sqrt(1.75)) / 2.
    tau = (0.5 - 1.75**0.5) / 2
    assert entmax15(torch.tensor([1.0, 0.0, -9.0])).tolist() == pytest.approx([(0.5 - tau) ** 2, tau**2, 0.0])


@pytest.mark.parametrize("experts", [1, 2, 5, 64])
def test_entmax_sums_to_one_is_sparse_and_keeps_the_order(experts):
    torch.manual_seed(0)
    z = 4 * torch.randn(50, experts, dtype=torch.float64)
    p = entmax15(z)
    torch.testing.assert_close(p.sum(1), torch.ones(50, dtype=torch.float64))
    assert (p >= 0).all()
    assert (p.gather(1, z.argsort(1, descending=True)).diff(dim=1) <= 0).all()
    assert experts < 64 or (p == 0).double().mean() > 0.5
    assert torch.equal(entmax15(z + 1000).gt(0), p.gt(0)), "a shift changes nothing"


def test_entmax_has_the_gradient_of_finite_differences():
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(entmax15, torch.randn(7, 5, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("linear", [CPLinear, TRLinear])
def test_factored_equals_materialised(linear, bias):
    torch.manual_seed(0)
    layer = linear(6, 5, 4, 3, bias=bias).double()
    x_BTI, a_BTE = torch.randn(2, 7, 5, dtype=torch.float64), torch.rand(2, 7, 6, dtype=torch.float64)
    one = torch.ones(2, 7, int(bias), dtype=torch.float64)
    if linear is CPLinear:
        tensor_EIJ = torch.einsum("er,ir,rj->eij", layer.expert, layer.w_in, layer.w_out)
    else:
        w_in, w_out = layer.w_in.view(-1, RING, 3), layer.w_out.view(RING, 3, -1)
        tensor_EIJ = torch.einsum("ers,ist,rtj->eij", layer.expert, w_in, w_out)
    assert tensor_EIJ.shape == (6, 5 + bias, 4)
    expected_BTJ = torch.einsum("bte,bti,eij->btj", a_BTE, torch.cat([x_BTI, one], 2), tensor_EIJ)
    torch.testing.assert_close(layer(x_BTI, a_BTE), expected_BTJ)
    torch.testing.assert_close(
        torch.autograd.grad(layer(x_BTI, a_BTE).square().sum(), layer.parameters()),
        torch.autograd.grad(expected_BTJ.square().sum(), layer.parameters()),
    )


@pytest.mark.parametrize(
    ("variant", "per_layer"),
    [
        (MuMoECP, lambda r, e, i, o: r * (e + i + 1 + o)),
        (MuMoETR, lambda r, e, i, o: 16 * e + 4 * r * (i + 1) + 4 * r * o),
    ],
)
def test_parameters_are_those_of_the_formula(variant, per_layer):
    layer = variant().layer(LayerShape(dim=10, out_dim=7, tokens=None), 3, {"experts": 6, "wide": 4})
    total = sum(p.numel() for p in layer.parameters())
    assert total == 10 * 6 + per_layer(3, 6, 10, 40) + per_layer(3, 6, 40, 7)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gate_starts_even_and_is_one_for_both_layers(variant):
    torch.manual_seed(0)
    layer = variant().layer(LayerShape(dim=10, out_dim=7, tokens=None), 3, {"experts": 6}).double()
    x_BTD = torch.randn(2, 5, 10, dtype=torch.float64)
    routing = layer.route(x_BTD, Context())
    torch.testing.assert_close(routing.mass_BE, torch.full((2, 6), 5 / 6, dtype=torch.float64))
    torch.nn.init.normal_(layer.gate_DE)
    a_BTE = layer.route(x_BTD, Context()).combine_BTE
    hidden_BTM = layer.shape.activate(layer.first(x_BTD, a_BTE))
    torch.testing.assert_close(layer(x_BTD), layer.second(hidden_BTM, a_BTE))
    mean_BT1, deviation_BT1 = (x_BTD @ layer.gate_DE).mean(2, True), (x_BTD @ layer.gate_DE).var(2, False, keepdim=True)
    normal_BTE = (x_BTD @ layer.gate_DE - mean_BT1) / (deviation_BT1 + 1e-5).sqrt()
    torch.testing.assert_close(a_BTE, entmax15(normal_BTE))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_masked_expert_is_as_good_as_absent_and_the_weights_of_others_stay(variant):
    torch.manual_seed(0)
    layer = variant().layer(LayerShape(dim=10, out_dim=7, tokens=None), 3, {"experts": 6}).double()
    torch.nn.init.normal_(layer.gate_DE)
    x_BTD = torch.randn(2, 5, 10, dtype=torch.float64)
    keep_BE = torch.tensor([[True, False, True, True, False, True]]).expand(2, -1)
    routing = layer.route(x_BTD, Context())
    masked_BTO = layer.compute(x_BTD, routing, keep_BE)
    with torch.no_grad():
        for linear in (layer.first, layer.second):
            linear.expert[[1, 4]] = 0
    torch.testing.assert_close(layer.compute(x_BTD, routing), masked_BTO)
    fewer = restrict(layer, x_BTD, routing, keep_BE, "renormalise")
    # The gate may have given a token to masked experts alone.
    left_BT = (routing.combine_BTE * keep_BE.unsqueeze(1)).any(2)
    torch.testing.assert_close(fewer.mass_BE.sum(1), left_BT.sum(1).double())
