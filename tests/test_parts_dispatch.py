"""Dispatch and capacity on cases small enough to do by hand."""

import pytest
import torch

from moevariants.parts import combine_rows, place_in_capacity, plan_dispatch, take_rows
from moevariants.parts.dispatch import capacity

# Four tokens, two choices each, of three experts.
CHOSEN_BTK = torch.tensor([[[0, 1], [0, 2], [0, 1], [1, 0]]])


def test_rows_are_sorted_by_expert_then_token():
    x_ND = torch.arange(4.0).unsqueeze(1)
    dispatch = plan_dispatch(CHOSEN_BTK[0], 3)
    # Expert 0: tokens 0, 1, 2, 3; expert 1: tokens 0, 2, 3; expert 2: token 1.
    assert take_rows(x_ND, dispatch).flatten().tolist() == [0, 1, 2, 3, 0, 2, 3, 1]
    assert dispatch.counts_E.tolist() == [4, 3, 1]


def test_choice_without_room_has_no_row_and_adds_nothing():
    x_ND = torch.arange(1.0, 5.0).unsqueeze(1)
    kept_NK = torch.tensor([[True, False], [True, True], [False, False], [False, True]])
    dispatch = plan_dispatch(CHOSEN_BTK[0], 4, kept_NK)
    rows_MD = take_rows(x_ND, dispatch)
    # Expert 0: tokens 0, 1 and (second choice) 3; expert 2: token 1; experts 1 and 3 nothing.
    assert rows_MD.flatten().tolist() == [1, 2, 4, 2]
    assert dispatch.counts_E.tolist() == [3, 0, 1, 0]
    weight_NK = torch.tensor([[0.5, 9.0], [0.25, 0.75], [9.0, 9.0], [9.0, 0.5]])
    # Token 0: 0.5 * 1. Token 1: 0.25 * 2 + 0.75 * 2. Token 2: nothing. Token 3: 0.5 * 4.
    assert combine_rows(rows_MD, weight_NK, dispatch).flatten().tolist() == [0.5, 2.0, 0.0, 2.0]


@pytest.mark.parametrize("kept", [0.6, 0.0, 1.0])
def test_rows_of_nobody_come_last_add_nothing_and_spoil_nothing(kept):
    torch.manual_seed(0)
    chosen_NK, kept_NK = torch.rand(7, 5).argsort(-1)[:, :2], torch.rand(7, 2) < kept
    cut, whole = (plan_dispatch(chosen_NK, 5, kept_NK, cut=cut) for cut in (True, False))
    assert torch.equal(cut.counts_E, whole.counts_E)
    assert torch.equal(cut.order_M, whole.order_M[: len(cut.order_M)])
    assert whole.live_M.tolist() == [True] * len(cut.order_M) + [False] * (14 - len(cut.order_M))
    found = []
    for dispatch in (cut, whole):
        x_ND, weight_NK = torch.randn(7, 3).requires_grad_(), torch.rand(7, 2).requires_grad_()
        with torch.no_grad():
            x_ND.copy_(torch.arange(21.0).view(7, 3)), weight_NK.copy_(torch.arange(14.0).view(7, 2))
        rows_MD = take_rows(x_ND, dispatch)
        worked_MD = rows_MD.square()
        if dispatch.live_M is not None:  # as a product that leaves these rows as they were
            worked_MD = worked_MD.where(dispatch.live_M.unsqueeze(1), torch.nan)
        y_NO = combine_rows(worked_MD, weight_NK, dispatch)
        found.append((y_NO, *torch.autograd.grad(y_NO.sum(), (x_ND, weight_NK), allow_unused=True)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    # Whoever works on them, for a backend may, learns nothing from them.
    rows_MO, weight_NK = torch.randn(14, 3).requires_grad_(), torch.rand(7, 2) + 1
    (grad_MO,) = torch.autograd.grad(combine_rows(rows_MO, weight_NK, whole).sum(), rows_MO)
    assert torch.equal(grad_MO.any(1), whole.live_M)


@pytest.mark.parametrize("kept", [None, 0.6, 0.0])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_dispatch_gradients_are_those_of_finite_differences(top_k, kept):
    torch.manual_seed(0)
    chosen_NK = torch.rand(7, 5).argsort(-1)[:, :top_k]
    kept_NK = None if kept is None else torch.rand(7, top_k) < kept
    dispatch = plan_dispatch(chosen_NK, 5, kept_NK)
    x_ND = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    weight_NK = torch.rand(7, top_k, dtype=torch.float64, requires_grad=True)

    def there_and_back(x_ND, weight_NK):
        return combine_rows(take_rows(x_ND, dispatch).sin(), weight_NK, dispatch)

    assert torch.autograd.gradcheck(there_and_back, (x_ND, weight_NK))
    # A second derivative is refused, not wrong.
    y_NO = there_and_back(x_ND, weight_NK)
    (grad_ND,) = torch.autograd.grad(y_NO.square().sum(), x_ND, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad_ND.sum().backward()


def test_second_choices_wait_for_all_first_choices():
    # Places: ceil(4 * 2 * 0.75 / 3) = 2. First choices: tokens 0 and 1 fill expert 0, token 2 finds it full,
    # token 3 takes one place of expert 1. Second: token 0 fills expert 1, token 1 takes expert 2, tokens 2
    # and 3 find none.
    kept_BTK = place_in_capacity(CHOSEN_BTK, 3, 0.75)
    assert kept_BTK.tolist() == [[[True, True], [True, True], [False, False], [True, False]]]


def test_priority_goes_before_token_order():
    # In the order 2, 3, 1, 0. First: 2 and 1 fill expert 0, 3 is in expert 1, 0 finds none. Second: 2 fills
    # expert 1, 3 finds expert 0 full, 1 takes expert 2, 0 finds expert 1 full.
    priority_BT = torch.tensor([[0.4, 0.5, 0.9, 0.6]])
    kept_BTK = place_in_capacity(CHOSEN_BTK, 3, 0.75, priority_BT=priority_BT)
    assert kept_BTK.tolist() == [[[False, False], [True, True], [True, True], [True, False]]]


def test_equal_priorities_keep_token_order():
    priority_BT = torch.full((1, 4), 0.5)
    kept_BTK = place_in_capacity(CHOSEN_BTK, 3, 0.75, priority_BT=priority_BT)
    assert torch.equal(kept_BTK, place_in_capacity(CHOSEN_BTK, 3, 0.75))


@pytest.mark.parametrize("priority", [False, True])
def test_padding_takes_no_place_and_counts_not_as_a_token(priority):
    torch.manual_seed(0)
    chosen_BTK = torch.rand(3, 9, 4).argsort(-1)[..., :2]
    priority_BT = torch.rand(3, 9) if priority else None
    mask_BT = torch.arange(9) < torch.tensor([[9], [5], [0]])
    kept_BTK = place_in_capacity(chosen_BTK, 4, 0.7, priority_BT=priority_BT, token_mask_BT=mask_BT)
    for b, length in enumerate((9, 5, 0)):
        order = None if priority_BT is None else priority_BT[b : b + 1, :length]
        alone_BTK = place_in_capacity(chosen_BTK[b : b + 1, :length], 4, 0.7, priority_BT=order)
        assert torch.equal(kept_BTK[b, :length], alone_BTK[0])
        assert not kept_BTK[b, length:].any()


def test_capacity_is_the_stated_formula():
    assert capacity(16, 2, 8, 1.0) == 4
    assert capacity(16, 2, 8, 1.05) == 5  # 4.2 places are 5
    assert capacity(100, 1, 2, 1.1) == 55  # and 55.00000000000001 are 55
    assert capacity(16, 2, 2, 3.0) == 16  # never more than there are tokens
    assert capacity(16, 1, 64, 0.1) == 1
