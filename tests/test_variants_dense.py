"""The dense MLP."""

import pytest
import torch
from torch import nn

from moebench.budgets.count import active_parameters
from moebench.contract import Context, LayerShape
from moevariants.dense import Dense


@pytest.mark.parametrize("bias", [True, False])
def test_dense_is_linear_activation_linear(bias):
    torch.manual_seed(0)
    layer = Dense().layer(LayerShape(dim=4, out_dim=3, tokens=None, activation="relu", bias=bias), 7, {})
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 7, bias=bias), nn.ReLU(), nn.Linear(7, 3, bias=bias))
    x_BTD = torch.randn(2, 5, 4)
    assert torch.equal(layer(x_BTD), plain(x_BTD))
    assert active_parameters(layer) == sum(p.numel() for p in plain.parameters())


def test_dense_has_no_experts():
    layer = Dense().layer(LayerShape(dim=4, out_dim=4, tokens=None), 7, {})
    x_BTD = torch.randn(2, 5, 4)
    routing = layer.route(x_BTD, Context())
    assert routing.mass_BE is None
    assert layer.num_experts == 0
    assert layer.expert_parameters() == {}
    with pytest.raises(ValueError, match="dense has no experts to keep"):
        layer.compute(x_BTD, routing, torch.ones(2, 1, dtype=torch.bool))


def test_impossible_settings_and_sizes_are_named():
    shape = LayerShape(dim=4, out_dim=4, tokens=None)
    with pytest.raises(ValueError, match="dense has no setting 'experts'; it has: none"):
        Dense().layer(shape, 7, {"experts": 8})
    with pytest.raises(ValueError, match="hidden width must be at least 1, not 0"):
        Dense().layer(shape, 0, {})
