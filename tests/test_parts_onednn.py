"""oneDNN's product as a layer uses it: values, every gradient, FLOPs; and when torch's own takes over."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from moevariants.parts import onednn

INPUTS, TOKENS, WIDE, OUT = 5, 7, 150, 401
"""Just large enough to be worth the call, and multiples of nothing."""


@pytest.fixture
def called(monkeypatch):
    """How often oneDNN was asked, lest all is torch's own."""
    calls, own = [], onednn.product

    def product(*args):
        calls.append(args)
        return own(*args)

    monkeypatch.setattr(onednn, "product", product)
    return calls


def outputs(multiply, x_BTI, weight_JI, bias_J):
    y_BTJ = multiply(x_BTI, weight_JI, bias_J)
    probe_BTJ = torch.randn(y_BTJ.shape, generator=torch.Generator().manual_seed(1))
    wanted = [x for x in (x_BTI, weight_JI, bias_J) if x is not None]
    return [y_BTJ, *torch.autograd.grad((y_BTJ * probe_BTJ).sum(), wanted)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_matmul_is_torchs_in_value_and_every_gradient(called, transposed, bias):
    torch.manual_seed(0)
    x_BTI = torch.randn(INPUTS, TOKENS, WIDE, requires_grad=True)
    weight = torch.randn(*((OUT, WIDE) if transposed else (WIDE, OUT)), requires_grad=True)
    bias_J = torch.randn(OUT, requires_grad=True) if bias else None
    turned = (lambda w: w.t()) if transposed else (lambda w: w)
    mine = outputs(lambda x, w, b: onednn.matmul(x, turned(w), b), x_BTI, weight, bias_J)
    oracle = outputs(lambda x, w, b: F.linear(x, turned(w).t(), b), x_BTI, weight, bias_J)
    assert len(called) == 3
    for one, other in zip(mine, oracle, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["small", "float64", "bfloat16", "a slice of columns"])
def test_torchs_own_takes_over(called, way):
    wide = 4 if way == "small" else WIDE
    weight_IJ = torch.randn(wide, 2 * OUT)[:, :OUT] if way == "a slice of columns" else torch.randn(wide, OUT)
    dtype = getattr(torch, way, torch.float32)
    x_BTI, weight_IJ = torch.randn(INPUTS, TOKENS, wide).to(dtype), weight_IJ.to(dtype)
    torch.testing.assert_close(onednn.matmul(x_BTI, weight_IJ), F.linear(x_BTI, weight_IJ.t()))
    assert not called


def test_matmul_counts_its_flops_forward_and_backward():
    x_BTI, weight_IJ = torch.randn(INPUTS, TOKENS, WIDE, requires_grad=True), torch.randn(WIDE, OUT, requires_grad=True)
    once = 2 * INPUTS * TOKENS * WIDE * OUT
    with FlopCounterMode(display=False) as counter:
        y_BTJ = onednn.matmul(x_BTI, weight_IJ)
        assert counter.get_total_flops() == once
        y_BTJ.sum().backward()
    assert counter.get_total_flops() == 3 * once


def test_a_dense_layer_goes_this_way(called):
    from moebench.contract import LayerShape
    from moevariants.dense import Dense

    layer = Dense().layer(LayerShape(dim=WIDE, out_dim=WIDE, tokens=TOKENS), OUT, {})
    x_BTD = torch.randn(INPUTS, TOKENS, WIDE)
    wanted_BTO = layer.linear_out(layer.shape.activate(layer.linear_in(x_BTD)))
    torch.testing.assert_close(layer(x_BTD), wanted_BTO, rtol=1e-4, atol=1e-5)
    assert len(called) == 2
