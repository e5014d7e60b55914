"""What a run asks of a layer before it trains it, and what stays of torch's settings after another author's code."""

import pytest
import torch

from moebench.budgets.first_call import refuse_no_scalars, refuse_undrawn, undrawn_is_nan
from moebench.contract import LayerShape
from moebench.errors import LayerError
from moebench.plans.make import make_plan
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.plugins.torch_settings import TORCH_SETTINGS
from moevariants.sparse_topk import SparseTopK
from packages import VARIANT
from plans import ALONE, a_request

WRAPPED = """
import torch
from torch import nn
from moebench import wrap


class Block(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.a, self.b = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        {init}

    def forward(self, x):
        y = self.b(self.a(x).relu())
        return y, {loss}


mine = wrap(Block, name="mine", aux_weight=0.01)
"""


def problem(tmp_path, init="pass", loss="y.square().mean()"):
    """Why a row of such a module cannot run; empty where it can."""
    (tmp_path / "mine.py").write_text(WRAPPED.format(init=init, loss=loss))
    plan = make_plan(a_request([f"{tmp_path}/mine.py:mine"], **ALONE))
    problems = {group.row: group.problem for group in plan.groups}
    assert problems["dense"] == ""
    return problems["mine"]


def test_a_module_of_drawn_weights_and_a_scalar_loss_is_planned(tmp_path):
    assert problem(tmp_path) == ""


@pytest.mark.parametrize("loss", ["y", "y.argmax()", "[[y.mean()]]"])
def test_a_second_output_that_is_no_loss_is_a_row_with_the_reason(tmp_path, loss):
    assert "its forward returned no loss, which is one number, but output_0, a float32 tensor" in problem(
        tmp_path, loss=loss
    )


@pytest.mark.parametrize("loss", ["0.5", "y.mean()[None]"])
def test_a_loss_may_be_a_number_or_have_one_element(tmp_path, loss):
    assert problem(tmp_path, loss=loss) == ""


@pytest.mark.parametrize(
    "init",
    [
        "self.a.weight = nn.Parameter(torch.empty(hidden, dim))",
        "self.a.weight = nn.Parameter(torch.empty_like(self.a.weight))",
        "self.a.weight = nn.Parameter(self.a.weight.new_empty(hidden, dim))",
        "self.a.weight = nn.Parameter(torch.full((hidden, dim), float('inf')))",
        "self.register_buffer('scale', torch.empty(2))",
    ],
)
def test_weights_that_nobody_drew_are_a_row_with_the_reason(tmp_path, init):
    found = problem(tmp_path, init)
    assert "never drawn" in found
    assert "a.weight" in found or "scale" in found


def test_the_digits_of_drawn_weights_are_the_same_where_memory_is_filled():
    variant, shape = SparseTopK(), LayerShape(dim=16, out_dim=16, tokens=4, depth=1)
    torch.manual_seed(0)
    plain = variant.layer(shape, 8, variant.space(shape).defaults())
    torch.manual_seed(0)
    with undrawn_is_nan():
        filled = variant.layer(shape, 8, variant.space(shape).defaults())
        assert bool(torch.empty(3).isnan().all())
    refuse_undrawn("sparse_topk", [filled])
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), filled.parameters(), strict=True))
    assert torch.get_deterministic_debug_mode() == 0


def test_a_loss_of_a_run_is_looked_at_there_too():
    refuse_no_scalars("mine", {"aux": torch.tensor(0.5)})
    with pytest.raises(LayerError) as caught:
        refuse_no_scalars("mine", {"aux": torch.zeros(4, 7, 4)})
    assert (caught.value.code, caught.value.facts["loss"]) == ("loss-not-scalar", "aux")


MEDDLING = """
import torch
torch.set_num_threads(3)
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.set_float32_matmul_precision("medium")
torch.use_deterministic_algorithms(True, warn_only=True)
"""


@pytest.mark.parametrize(
    "source", [MEDDLING + VARIANT, VARIANT + "    def __init__(self):" + MEDDLING.replace("\n", "\n        ")]
)
def test_torchs_settings_are_the_protocols_after_every_import(tmp_path, source):
    before = [thing.read() for thing in TORCH_SETTINGS]
    (tmp_path / "mine.py").write_text(source)
    load_variant(find_variant(f"{tmp_path}/mine.py:Mine"))
    assert [thing.read() for thing in TORCH_SETTINGS] == before
