"""What layers do on a GPU alone, done on a CPU: the same numbers and gradients as the CPU's own way."""

import copy
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from moebench.contract import Context, LayerShape
from moevariants.deepseek import DeepSeek
from moevariants.expert_choice import ExpertChoice
from moevariants.moe_pp import MoEPP
from moevariants.parts import Experts, choose_top_k, devices, fused, huge_pages, plan_dispatch
from moevariants.parts.gates import SigmoidGate
from moevariants.parts.rows import add_up, plan_rows, take
from moevariants.peer import PEER
from moevariants.random_balanced import RandomBalanced
from moevariants.remoe import ReMoE
from moevariants.smola import SMoLA
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import PRESETS, SparseTopK

SHAPE = LayerShape(dim=16, out_dim=16, tokens=None)
LAYERS = [
    (SparseTopK, {}),
    (SparseTopK, dict(PRESETS["gshard"])),
    (SparseTopK, dict(PRESETS["switch"])),
    (DeepSeek, {}),
    (ExpertChoice, {}),
    (ExpertChoice, {"capacity": 0.4}),
    (MoEPP, {}),
    (PEER, {}),
    (RandomBalanced, {}),
    (ReMoE, {}),
    (SMoLA, {}),
    (SoftMoE, {}),
]


@pytest.fixture
def elsewhere(monkeypatch):
    """From now on no tensor says that it is on a CPU."""
    return lambda: monkeypatch.setattr(devices, "on_cpu", lambda x: False)


def step(layer, mask_BT=None, keep_BE=None):
    """Output, gradients, and the buffers after a step."""
    torch.manual_seed(1)
    x_BTD = torch.randn(3, 9, 16, requires_grad=True)
    routing = layer.route(x_BTD, Context(token_mask_BT=mask_BT))
    y_BTO = layer.compute(x_BTD, routing, keep_BE)
    loss = (y_BTO * torch.randn_like(y_BTO)).sum() + sum(routing.losses.values())
    leaves = [x_BTD, *(weight for weight in layer.parameters() if weight.requires_grad)]
    grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    layer.after_step()
    return [y_BTO, *grads, *layer.buffers()]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("variant", "settings"), LAYERS, ids=str)
def test_a_layer_has_the_numbers_of_the_cpu(variant, settings, masked, elsewhere):
    torch.manual_seed(0)
    layer = variant().layer(SHAPE, 8, settings).train()
    keep_BE = mask_BT = None
    if masked:
        mask_BT = torch.arange(9) < torch.tensor([[9], [4], [1]])
        keep_BE = torch.rand(3, layer.num_experts) < 0.7
    wanted = step(copy.deepcopy(layer), mask_BT, keep_BE)
    elsewhere()
    for one, other in zip(step(layer, mask_BT, keep_BE), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_experts", [1, 3, 64])
def test_ties_go_to_the_lower_index(num_experts, elsewhere):
    torch.manual_seed(0)
    ties = torch.randint(-2, 3, (5, 7, num_experts)).float() * torch.randint(0, 2, (5, 7, num_experts))  # -0 among them
    distinct = torch.randn(5, 7, num_experts) * 10.0 ** torch.randint(-30, 30, (5, 7, num_experts))
    masked = torch.randn(5, 7, num_experts).masked_fill(torch.rand(5, 7, num_experts) < 0.2, -torch.inf)
    rows_BTE = torch.cat([ties, distinct, masked], 1)
    top_k = min(2, num_experts)
    wanted_BTE = rows_BTE.sort(dim=-1, descending=True, stable=True).indices
    assert (rows_BTE.view(torch.int32) == torch.tensor(-0.0).view(torch.int32)).any() or num_experts == 1
    elsewhere()
    assert torch.equal(choose_top_k(rows_BTE, top_k), wanted_BTE[..., :top_k])


@pytest.mark.parametrize("num_experts", [2, 254, 255, 256, 32767, 32768])
def test_dispatch_of_any_number_of_experts(num_experts):
    """Keys of sorting are as small as they can be; the number itself stands for no row."""
    torch.manual_seed(0)
    chosen_NK = torch.randint(num_experts, (40, 2))
    chosen_NK[0] = torch.tensor([num_experts - 1, 0])
    kept_NK = torch.rand(40, 2) < 0.8
    kept_NK[0] = True
    dispatch = plan_dispatch(chosen_NK, num_experts, kept_NK)
    flat_A = chosen_NK.flatten().where(kept_NK.flatten(), num_experts)
    order_A = sorted(range(80), key=lambda a: (int(flat_A[a]), a))
    assert dispatch.order_M.tolist() == order_A[: int(kept_NK.sum())]
    assert torch.equal(dispatch.counts_E, torch.bincount(chosen_NK[kept_NK], minlength=num_experts))


@pytest.mark.parametrize("rows", [0, 1, 23])
def test_rows_of_tokens_and_back_have_the_gradients_of_finite_differences(rows, elsewhere):
    torch.manual_seed(0)
    token_M = torch.randint(5, (rows,))
    x_ND, rows_MO = torch.randn(6, 3, dtype=torch.float64), torch.randn(rows, 3, dtype=torch.float64)
    wanted = take(x_ND, plan_rows(token_M, 6)), add_up(rows_MO, plan_rows(token_M, 6))
    elsewhere()
    taken = plan_rows(token_M, 6)
    torch.testing.assert_close((take(x_ND, taken), add_up(rows_MO, taken)), wanted)
    x_ND.requires_grad_(), rows_MO.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: take(x, taken), x_ND)
    assert not rows or torch.autograd.gradcheck(lambda x: add_up(x, taken), rows_MO)


class SeenRows(Experts):
    def forward_rows(self, rows_ND, counts_E, most=None):
        self.seen = rows_ND.dtype
        return super().forward_rows(rows_ND, counts_E, most)


def test_rows_are_copied_in_the_type_of_the_product_on_a_gpu_alone(elsewhere):
    layer = SparseTopK().layer(SHAPE, 8, {"experts": 9})
    layer.experts.__class__ = SeenRows

    def seen():
        with torch.autocast("cpu", torch.bfloat16):
            step(layer)
        return layer.experts.seen

    assert seen() == torch.float32
    elsewhere()
    assert seen() == torch.bfloat16
    wide = torch.zeros(1, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert devices.in_product_type(wide).dtype == torch.float64


def test_one_expert_is_one_product_on_a_gpu(elsewhere, monkeypatch):
    bank = Experts(1, SHAPE, 8)
    elsewhere()
    monkeypatch.delattr(torch, "baddbmm")
    assert bank.on_every_token(torch.randn(2, 3, 16)).shape == (2, 3, 16)
    with pytest.raises(AttributeError):
        huge_pages.batched(torch.randn(2, 3, 16), torch.randn(2, 16, 8), torch.randn(2, 8))


def test_kernels_are_for_memory_of_a_gpu_alone(monkeypatch):
    monkeypatch.setattr(fused, "why_not", lambda: None)
    rows = torch.ones(2, 2)
    with FakeTensorMode():
        fake = torch.ones(2, 2, device="cuda")
    assert fake.is_cuda
    assert [fused.kernels_for(each) for each in (rows, rows.to("meta"), fake)] == [None, None, None]


def test_kernels_that_do_not_work_have_a_reason():
    assert torch.cuda.is_available() or "do not work here" in fused.why_not()


def test_a_gate_counts_the_choices_of_real_tokens():
    torch.manual_seed(0)
    gate, mask_BT = SigmoidGate(5, 2, 0.1).train(), torch.arange(9) < torch.tensor([[9], [4], [1]])
    expected_E = torch.zeros(5)
    for _ in range(2):
        gated = gate(torch.randn(3, 9, 5), mask_BT)
        expected_E += torch.bincount(gated.chosen_BTK[mask_BT].flatten(), minlength=5)
    assert torch.equal(gate.counts_E, expected_E)


def test_a_step_on_a_cpu_imports_no_kernels():
    program = (
        "import sys, torch; from moebench.contract import *; from moevariants.deepseek import DeepSeek\n"
        "layer = DeepSeek().layer(LayerShape(dim=8, out_dim=8, tokens=None), 4, {})\n"
        "x = torch.randn(1, 3, 8); layer.compute(x, layer.route(x, Context())).sum().backward()\n"
        "print(*[name for name in sys.modules if name.startswith('moevariants.backends.kernel')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
