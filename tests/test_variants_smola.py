"""SMoLA: an MLP for every token and low-rank experts in slots beside it."""

import torch

from moebench.contract import LayerShape
from moevariants.smola import SMoLA


def test_layer_is_the_equation():
    torch.manual_seed(0)
    layer = SMoLA().layer(LayerShape(dim=6, out_dim=5, tokens=None), 7, {"experts": 3, "slots": 2, "rank": 4}).double()
    x_BTD = torch.randn(2, 9, 6, dtype=torch.float64, requires_grad=True)
    logits_BTS = x_BTD @ layer.router.phi_DS
    slots_BSD = logits_BTS.softmax(1).mT @ x_BTD
    a_SDr, b_SrO = (w.repeat_interleave(2, 0) for w in (layer.experts.w_in_EDH, layer.experts.w_out_EHO))
    out_BSO = torch.einsum("bsd,sdr,sro->bso", slots_BSD, a_SDr, b_SrO)
    base = layer.base
    base_BTO = base.activate(x_BTD @ base.w_in_EDH[0] + base.b_in_EH[0]) @ base.w_out_EHO[0] + base.b_out_EO[0]
    expected_BTO = base_BTO + logits_BTS.softmax(2) @ out_BSO
    torch.testing.assert_close(layer(x_BTD), expected_BTO)
    wanted = [x_BTD, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(layer(x_BTD).square().sum(), wanted),
        torch.autograd.grad(expected_BTO.square().sum(), wanted),
    )
    assert layer.experts.b_in_EH is None
    assert sum(p.numel() for p in layer.experts.parameters()) == 3 * (6 * 4 + 4 * 5)
