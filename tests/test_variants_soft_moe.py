"""Soft MoE against the equations, token by token."""

import pytest
import torch

from moebench.contract import Context, LayerShape
from moevariants.soft_moe import SoftMoE


def build(size=5, dim=4, out_dim=3, activation="gelu", bias=True, seed=0, **settings):
    torch.manual_seed(seed)
    shape = LayerShape(dim=dim, out_dim=out_dim, tokens=None, activation=activation, bias=bias)
    layer = SoftMoE().layer(shape, size, {"experts": 3, **settings}).double()
    if layer.router.scale is not None:
        torch.nn.init.constant_(layer.router.scale, 1.7)
    return layer


def expert(layer, e, z_D):
    bank = layer.experts
    hidden_H = z_D @ bank.w_in_EDH[e]
    hidden_H = bank.activate(hidden_H + bank.b_in_EH[e] if bank.b_in_EH is not None else hidden_H)
    out_O = hidden_H @ bank.w_out_EHO[e]
    return out_O + bank.b_out_EO[e] if bank.b_out_EO is not None else out_O


def unit(v_D):
    return v_D / torch.sqrt((v_D * v_D).sum() + 1e-6)


def reference(layer, x_TD, slots, normalise=False):
    """y_TO and mass_E of one input, one number at a time."""
    tokens, phi_DS = x_TD.shape[0], layer.router.phi_DS
    num_slots = phi_DS.shape[1]
    logits = [[x_TD[t] @ phi_DS[:, s] for s in range(num_slots)] for t in range(tokens)]
    if normalise:
        scale = layer.router.scale
        logits = [[unit(x_TD[t]) @ unit(phi_DS[:, s]) * scale for s in range(num_slots)] for t in range(tokens)]
    power = [[torch.exp(value) for value in row] for row in logits]
    outputs = []
    for s in range(num_slots):
        column = sum(power[t][s] for t in range(tokens))
        outputs.append(expert(layer, s // slots, sum(power[t][s] / column * x_TD[t] for t in range(tokens))))
    y_TO, mass_E = [], [0.0] * (num_slots // slots)
    for t in range(tokens):
        row = sum(power[t])
        y_TO.append(sum(power[t][s] / row * outputs[s] for s in range(num_slots)))
        for s in range(num_slots):
            mass_E[s // slots] += (power[t][s] / row).item()
    return torch.stack(y_TO), torch.tensor(mass_E, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("slots", [1, 2])
def test_layer_is_the_equation_in_value_gradient_and_mass(slots, normalise, bias):
    layer = build(slots=slots, normalise=normalise, bias=bias)
    x_BTD = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    routing = layer.route(x_BTD, Context())
    y_BTO = layer.compute(x_BTD, routing)
    pairs = [reference(layer, x_TD, slots, normalise) for x_TD in x_BTD]
    expected_BTO = torch.stack([y for y, _ in pairs])
    torch.testing.assert_close(y_BTO, expected_BTO)
    torch.testing.assert_close(routing.mass_BE, torch.stack([mass for _, mass in pairs]))
    probe_BTO, wanted = torch.randn_like(y_BTO), [x_BTD, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((y_BTO * probe_BTO).sum(), wanted),
        torch.autograd.grad((expected_BTO * probe_BTO).sum(), wanted),
    )


def identity_experts(layer):
    """relu(x) - relu(-x) = x."""
    eye_DD, bank = torch.eye(4, dtype=torch.float64), layer.experts
    with torch.no_grad():
        bank.w_in_EDH.copy_(torch.cat([eye_DD, -eye_DD], 1).expand(3, -1, -1))
        bank.w_out_EHO.copy_(torch.cat([eye_DD, -eye_DD], 0).expand(3, -1, -1))
        layer.router.scale.zero_()


def test_slots_mix_raw_tokens_and_not_normalised_ones():
    layer = build(size=8, out_dim=4, activation="relu", bias=False, normalise=True)
    identity_experts(layer)
    x_BTD = 5 * torch.randn(2, 7, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x_BTD), x_BTD.mean(1, keepdim=True).expand_as(x_BTD))


def test_port_switch_mixes_normalised_tokens():
    layer = build(size=8, out_dim=4, activation="relu", bias=False, normalise=True, slots_from_normalised_tokens=True)
    identity_experts(layer)
    x_BTD = 5 * torch.randn(2, 7, 4, dtype=torch.float64)
    units_BTD = torch.stack([torch.stack([unit(x_D) for x_D in x_TD]) for x_TD in x_BTD])
    torch.testing.assert_close(layer(x_BTD), units_BTD.mean(1, keepdim=True).expand_as(x_BTD))


def test_large_inputs_do_not_overflow():
    layer = build().float()
    assert layer(1e4 * torch.randn(2, 5, 4)).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"expert": 8}, "soft_moe has no setting 'expert'; did you mean 'experts'"),
        ({"slots": 0}, "soft_moe: slots must be a whole number"),
        ({"normalise": "yes"}, "soft_moe: normalise must be true or false, not 'yes'"),
        ({"slots_from_normalised_tokens": True}, "must be false where normalise is false, not True"),
    ],
)
def test_impossible_settings_are_named(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(**settings)
