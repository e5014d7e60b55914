"""What is written into large pages is what would have been written elsewhere."""

import pytest
import torch

from moebench.contract import LayerShape
from moevariants.backends import loop, onednn
from moevariants.parts import Experts, combine_rows, huge_pages, plan_dispatch, take_rows


@pytest.fixture
def asked(monkeypatch):
    """Everything counts as large; the shapes that were asked for."""
    shapes, own = [], huge_pages.empty

    def empty(shape, like):
        shapes.append(tuple(shape))
        return own(shape, like).fill_(float("nan"))  # what is left unwritten is seen

    monkeypatch.setattr(huge_pages, "LARGE", 0)
    monkeypatch.setattr(huge_pages, "empty", empty)
    return shapes


def test_only_large_float32_on_a_cpu_takes_them():
    like = torch.empty(0)
    assert huge_pages.is_large((1 << 23, 2), like)
    assert not huge_pages.is_large((1 << 23, 1), like), "32 MiB are kept by the C library"
    assert not huge_pages.is_large((1 << 23, 2), like.double())
    assert not huge_pages.is_large((1 << 23, 2), torch.empty(0, device="meta"))
    assert huge_pages.empty((3, 5), like.double()).dtype == torch.float64
    big = huge_pages.empty((1 << 23, 2), like)
    assert (big.shape, big.dtype) == ((1 << 23, 2), torch.float32)


def bank(bias):
    torch.manual_seed(0)
    return Experts(5, LayerShape(dim=6, out_dim=3, tokens=None, bias=bias), 7)


def gradients(y, *wanted):
    probe = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return [y.detach(), *torch.autograd.grad((y * probe).sum(), wanted)]


def assert_same(mine, oracle):
    for one, other in zip(mine, oracle, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_slots(asked, bias):
    experts, slots_END = bank(bias), torch.randn(5, 4, 6, requires_grad=True)
    mine = gradients(experts.forward_slots(slots_END), slots_END, *experts.parameters())
    assert sorted(asked) == [(5, 6, 7), (5, 7, 3)]
    rows_NO = loop.run(experts, slots_END.flatten(0, 1), torch.full((5,), 4))
    assert_same(mine, gradients(rows_NO.view(5, 4, 3), slots_END, *experts.parameters()))


@pytest.mark.parametrize("bias", [True, False])
def test_turns_leave_nothing_unwritten(asked, bias):
    experts, rows_ND, counts_E = bank(bias), torch.randn(20, 6, requires_grad=True), torch.tensor([0, 9, 0, 11, 0])
    mine = gradients(onednn.run(experts, rows_ND, counts_E), rows_ND, *experts.parameters())
    assert {(20, 3), (20, 6), (5, 6, 7), (5, 7, 3)} <= set(asked)
    assert_same(mine, gradients(loop.run(experts, rows_ND, counts_E), rows_ND, *experts.parameters()))


def test_dispatch(asked):
    chosen_NK = torch.rand(7, 5).argsort(-1)[:, :2]
    x_ND, weight_NK = torch.randn(7, 3, requires_grad=True), torch.rand(7, 2, requires_grad=True)
    dispatch = plan_dispatch(chosen_NK, 5)
    mine = gradients(combine_rows(take_rows(x_ND, dispatch).sin(), weight_NK, dispatch), x_ND, weight_NK)
    assert asked == [(14, 3), (14, 3)]
    assert_same(mine, gradients(weight_NK.sum(1, keepdim=True) * x_ND.sin(), x_ND, weight_NK))
