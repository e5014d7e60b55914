"""Triton's kernels on CUDA: they work, agree with torch's operations, and give the same bits again."""

import pytest
import torch

from moebench.contract import Context, LayerShape
from moevariants.parts import fused
from moevariants.sparse_topk import PRESETS, SparseTopK

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")


def step(settings, activation, bf16):
    torch.manual_seed(0)
    shape = LayerShape(dim=264, out_dim=136, tokens=None, activation=activation)
    layer = SparseTopK().layer(shape, 72, {"experts": 9, **settings}).cuda().eval()
    layer.experts.set_backend("grouped" if bf16 else "loop")
    x_BTD = torch.randn(4, 333, 264, device="cuda", requires_grad=True)
    with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
        y_BTO = layer.compute(x_BTD, layer.route(x_BTD, Context()))
    grads = torch.autograd.grad((y_BTO * torch.randn_like(y_BTO)).sum(), [x_BTD, *layer.parameters()])
    return [y_BTO, *grads]


def test_they_work_here():
    assert fused.why_not() is None


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "relu", "silu", "swiglu"])
@pytest.mark.parametrize("settings", [{}, dict(PRESETS["gshard"]), dict(PRESETS["switch"])], ids=str)
def test_they_agree_with_torch_and_with_themselves(settings, activation, bf16, monkeypatch):
    one, again = step(settings, activation, bf16), step(settings, activation, bf16)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    monkeypatch.setattr(fused, "kernels_for", lambda rows: None)
    for a, b in zip(one, step(settings, activation, bf16), strict=True):
        near = 3e-2 * float(b.abs().max()) if bf16 else 1e-4 * float(b.abs().max())
        torch.testing.assert_close(a, b, rtol=0.0, atol=near)
