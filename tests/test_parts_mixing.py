"""The orders in which a soft mixture can be computed, and one big expert in blocks, against the plain equations."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from moebench.contract import LayerShape
from moevariants.backends import loop
from moevariants.backends import onednn as onednn_backend
from moevariants.parts import Experts, SoftWeights, mix_all, mix_kept, mixing, onednn
from moevariants.parts.expert_by_expert import pays


def world(experts, dim=24, hidden=1, length=3, inputs=4, bias=True, slots=1):
    torch.manual_seed(0)
    bank = Experts(experts, LayerShape(dim=dim, out_dim=dim, tokens=length, bias=bias), hidden).double()
    x_BTD = torch.randn(inputs, length, dim, dtype=torch.float64, requires_grad=True)
    logits_BTS = (x_BTD @ torch.randn(dim, experts * slots, dtype=torch.float64)).div(4)
    return bank, x_BTD, SoftWeights(logits_BTS.softmax(1), logits_BTS.softmax(2))


def by_hand(bank, x_BTD, weights):
    """One slot at a time."""
    y_BTO = 0
    of_one = weights.combine_BTS.shape[2] // bank.count
    for s, (dispatch_BT, combine_BT) in enumerate(zip(*(weight_BTS.unbind(2) for weight_BTS in weights), strict=True)):
        slot_BD = (dispatch_BT.unsqueeze(2) * x_BTD).sum(1)
        hidden_BH = slot_BD @ bank.w_in_EDH[s // of_one]
        hidden_BH = bank.activate(hidden_BH if bank.b_in_EH is None else hidden_BH + bank.b_in_EH[s // of_one])
        out_BO = hidden_BH @ bank.w_out_EHO[s // of_one]
        out_BO = out_BO if bank.b_out_EO is None else out_BO + bank.b_out_EO[s // of_one]
        y_BTO = y_BTO + combine_BT.unsqueeze(2) * out_BO.unsqueeze(1)
    return y_BTO


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("hidden", "slots", "tokens_first"), [(1, 1, True), (2, 1, True), (3, 1, False), (1, 2, False)]
)
def test_either_order_is_the_equation_in_value_and_gradient(monkeypatch, hidden, slots, tokens_first, bias):
    bank, x_BTD, weights = world(5, hidden=hidden, bias=bias, slots=slots)
    went = []
    way = mixing._tokens_first
    monkeypatch.setattr(mixing, "_tokens_first", lambda *given: went.append(True) or way(*given))
    mine, theirs = mix_all(bank, x_BTD, weights), by_hand(bank, x_BTD, weights)
    assert bool(went) == tokens_first
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    probe, wanted = torch.randn_like(mine), [x_BTD, *bank.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((mine * probe).sum(), wanted, retain_graph=True),
        torch.autograd.grad((theirs * probe).sum(), wanted),
        rtol=1e-10,
        atol=1e-12,
    )


def test_the_loop_counts_the_flops_of_the_equations():
    bank, x_BTD, weights = world(5)
    bank.set_backend("loop")
    with FlopCounterMode(display=False) as counter:
        mix_all(bank, x_BTD, weights)
    # Four inputs, five slots each: a mix of three tokens of width 24, 24 -> 1 -> 24, and three tokens mixed back.
    assert counter.get_total_flops() == 2 * 4 * 5 * (3 * 24 + 24 + 24 + 3 * 24)


def test_a_subset_mixes_the_slots_of_kept_experts_alone():
    bank, x_BTD, weights = world(8, hidden=6)
    bank.set_backend("loop")
    keep_BE = torch.zeros(4, 8, dtype=torch.bool)
    keep_BE[:, [1, 5]] = True
    keep_BE[0, 5] = False
    with FlopCounterMode(display=False) as counter:
        mix_kept(bank, x_BTD, weights, keep_BE)
    # Two columns for each of the four inputs, and seven pairs of an input and an expert.
    assert counter.get_total_flops() == 2 * (4 * 2 * (3 * 24 + 3 * 24) + 7 * (24 * 6 + 6 * 24))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "hidden"), [(1, 1024), (1, 1025), (5, 1024), (5, 1027)])
def test_a_big_expert_is_the_same_expert_whichever_way_it_is_read(rows, hidden, dtype, bias):
    bank = Experts(2, LayerShape(dim=1024, out_dim=5, tokens=None, bias=bias), hidden).to(dtype)
    rows_nD = torch.randn(rows, 1024, dtype=dtype)
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}

    def run(backend=onednn_backend.run):
        return backend(bank, rows_nD, torch.tensor([0, rows]))

    served = dtype == torch.float32
    assert onednn.serves(rows_nD) == served
    with torch.no_grad():
        assert pays(rows_nD, bank.stacks, rows) == served
        torch.testing.assert_close(run(), run(loop.run), **tolerance)
        slots_END = torch.randn(2, rows, 1024, dtype=dtype)
        torch.testing.assert_close(
            bank.forward_slots(slots_END), run_with_gradient(lambda: bank.forward_slots(slots_END)), **tolerance
        )
    torch.testing.assert_close(run(), run(loop.run), **tolerance)


def test_without_onednn_a_big_expert_still_works_and_its_flops_are_counted_either_way(monkeypatch):
    bank = Experts(1, LayerShape(dim=1024, out_dim=5, tokens=None), 1024)
    slots_END, found = torch.randn(1, 3, 1024), {}
    for there in (True, False):
        monkeypatch.setattr(onednn, "available", lambda there=there: there)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            found[there] = bank.forward_slots(slots_END)
        assert counter.get_total_flops() == 2 * 3 * (1024 * 1024 + 1024 * 5)
    torch.testing.assert_close(found[True], found[False], rtol=1e-4, atol=1e-5)


def test_a_slice_of_a_weight_takes_the_plain_way():
    weight = torch.randn(1024, 2048)
    with torch.no_grad():
        assert onednn.serves(torch.randn(3, 1024), weight)
        assert not onednn.serves(torch.randn(3, 1024), weight[:, :1024])


def test_an_operator_that_is_missing_or_wrong_is_done_without(monkeypatch):
    def wrong(*_):
        return torch.zeros(2, 4)

    def missing():
        raise AttributeError("no such operator")

    onednn.available.cache_clear()
    assert onednn.available(), "this torch has it"
    for operator in (lambda: wrong, missing):
        onednn.available.cache_clear()
        monkeypatch.setattr(onednn, "_operator", operator)
        assert not onednn.available()
    onednn.available.cache_clear()


def test_a_big_expert_keeps_autocasts_type():
    bank = Experts(2, LayerShape(dim=1024, out_dim=5, tokens=None), 1024)
    slots_END = torch.randn(2, 3, 1024)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        blocks_END = bank.forward_slots(slots_END)
    assert blocks_END.dtype == torch.bfloat16
    torch.testing.assert_close(blocks_END.float(), bank.forward_slots(slots_END), rtol=0.05, atol=0.03)


def run_with_gradient(work):
    """The result of the way that is taken in training."""
    with torch.enable_grad():
        return work().detach()
