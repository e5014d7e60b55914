"""A forward pass does not wait for a GPU: tensors that have no values, as on a device that is not asked for them."""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from moebench.contract import Context, LayerShape
from moevariants.backends import grouped
from moevariants.cosine_topk import CosineTopK
from moevariants.deepseek import DeepSeek
from moevariants.expert_choice import ExpertChoice
from moevariants.expert_threshold import ExpertThreshold
from moevariants.lory import Lory
from moevariants.moe_pp import MoEPP
from moevariants.peer import PEER
from moevariants.remoe import ReMoE
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import PRESETS, SparseTopK

NEVER = [
    (SparseTopK, {}, "grouped"),
    (SparseTopK, dict(PRESETS["gshard"]), "grouped"),
    (SparseTopK, dict(PRESETS["v_moe"]), "grouped"),
    (SparseTopK, dict(PRESETS["switch"]), "padded"),
    (SparseTopK, dict(PRESETS["v_moe"]), "padded"),
    (SparseTopK, {}, "auto"),
    (CosineTopK, {}, "grouped"),
    (DeepSeek, {}, "grouped"),
    (ExpertChoice, {}, "auto"),
    (SoftMoE, {}, "auto"),
    (ReMoE, {}, "grouped"),
    (ExpertThreshold, {}, "grouped"),
    (MoEPP, {}, "grouped"),
    (PEER, {}, "grouped"),
    (Lory, {}, "auto"),
]
# The loop needs to know how many rows an expert has, and so does padding where no capacity says so.
DOES = [(SparseTopK, {}, "loop"), (SparseTopK, {}, "padded")]


@pytest.fixture(autouse=True)
def grouped_serves(monkeypatch):
    """Its trial would need the device."""
    monkeypatch.setattr(grouped, "why_not", lambda device, dtype: None)


def forward(variant, settings, backend):
    with FakeTensorMode(), torch.device("cuda"):
        layer = variant().layer(LayerShape(dim=64, out_dim=64, tokens=16), 32, settings).train()
        for module in layer.modules():
            if hasattr(module, "set_backend"):
                module.set_backend(backend)
        x_BTD = torch.randn(4, 16, 64)
        return layer.compute(x_BTD, layer.route(x_BTD, Context()))


@pytest.mark.parametrize(("variant", "settings", "backend"), NEVER, ids=str)
def test_a_forward_pass_does_not_wait(variant, settings, backend):
    y_BTO = forward(variant, settings, backend)
    assert (y_BTO.shape, y_BTO.device.type) == ((4, 16, 64), "cuda")


@pytest.mark.parametrize(("variant", "settings", "backend"), DOES, ids=str)
def test_one_that_does_is_seen(variant, settings, backend):
    with pytest.raises(DataDependentOutputException):
        forward(variant, settings, backend)
