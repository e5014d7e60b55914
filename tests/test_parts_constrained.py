"""The constraints of arXiv 2204.10598 against numbers worked by hand."""

import math

import pytest
import torch

from moevariants.parts.constrained import ConstrainedGate, add_by_expert, least_hard
from moevariants.parts.losses import importance_loss, kl_loss
from moevariants.parts.routers import WholeInputRouter

UNEVEN = torch.tensor([[[0.75, 0.25, 0.0]], [[0.25, 0.25, 0.5]]])
"""Two inputs of one token; the mean over both is 1/2, 1/4, 1/4."""


def logits_of(*experts):
    """Inputs of one token each that want one of four experts, beyond doubt."""
    return torch.nn.functional.one_hot(torch.tensor(experts), 4).unsqueeze(1) * 100.0


def gate(**given):
    return ConstrainedGate(4, 1, renormalise=False, **given)


def test_importance_and_divergence_of_an_uneven_load():
    # Mean 1/3, variance (1/36 + 1/144 + 1/144) / 3 = 1/72, so CV^2 = (1/72) / (1/9).
    assert importance_loss(UNEVEN).item() == pytest.approx(1 / 8)
    # log 3 + 1/2 log 1/2 + 2 (1/4 log 1/4) = log 3 - 3/2 log 2.
    assert kl_loss(UNEVEN).item() == pytest.approx(math.log(3) - 1.5 * math.log(2)) == pytest.approx(0.0588915)


def test_an_even_load_costs_nothing_and_a_collapsed_one_log_e():
    even = torch.eye(3).unsqueeze(1)  # each input one expert: the load is even all the same
    assert kl_loss(even).item() == pytest.approx(0, abs=1e-6)
    collapsed = torch.tensor([[[1.0, 0.0, 0.0]]], requires_grad=True)
    loss = kl_loss(collapsed)
    assert loss.item() == pytest.approx(math.log(3))
    loss.backward()
    assert collapsed.grad.isfinite().all()


def test_padding_has_no_part_in_the_divergence():
    padded = torch.cat([UNEVEN, torch.tensor([[[0.0, 0.0, 1.0]]])])
    mask = torch.tensor([[True], [True], [False]])
    assert kl_loss(padded, mask) == kl_loss(UNEVEN)


def test_the_gate_gives_the_losses_that_it_was_asked_for_in_training_alone():
    logits = UNEVEN.clamp_min(1e-9).log()
    both = ConstrainedGate(3, 1, renormalise=False, losses=("importance", "kl"))
    losses = both(logits).losses
    assert {name: round(loss.item(), 4) for name, loss in losses.items()} == {"importance": 0.125, "kl": 0.0589}
    assert both.eval()(logits).losses == {}
    assert ConstrainedGate(3, 1, renormalise=False)(logits).losses == {}


def test_running_importance_follows_the_weight_that_was_given():
    held = gate(hard=2.0, memory=2)
    assert held.importance_E.tolist() == [0.25] * 4
    held(logits_of(0, 0))
    assert held.importance_E.tolist() == [0.25] * 4, "it moves after the step"
    held.after_step()
    assert held.importance_E.tolist() == [0.625, 0.125, 0.125, 0.125]
    held(logits_of(1, 1, 2, 2))
    held.after_step()
    assert held.importance_E.tolist() == [0.3125, 0.3125, 0.3125, 0.0625]
    held.after_step()
    assert held.importance_E.tolist() == [0.3125, 0.3125, 0.3125, 0.0625], "a step without a pass moves nothing"


def test_importance_is_weight_not_number_of_choices():
    held = gate(memory=1)
    # Expert 0 is chosen with weight 0.9, expert 1 with weight 0.6.
    held(torch.tensor([[[0.9, 0.1, 1e-9, 1e-9]], [[0.4, 0.6, 1e-9, 1e-9]]]).log())
    held.after_step()
    assert held.importance_E.tolist() == pytest.approx([0.6, 0.4, 0, 0])


def test_exactly_the_experts_above_the_threshold_are_left_out():
    held = gate(hard=1.5)
    held.importance_E.copy_(torch.tensor([0.376, 0.375, 0.2, 0.049]))  # the mean is 1/4, the threshold 3/8
    assert held.left_out().tolist() == [True, False, False, False]
    chosen = held(logits_of(0, 1, 2, 3)).chosen_BTK.flatten().tolist()
    assert chosen[1:] == [1, 2, 3]
    assert chosen[0] != 0
    assert held.eval()(logits_of(0, 1, 2, 3)).chosen_BTK.flatten().tolist() == [0, 1, 2, 3], "in training only"
    assert not gate().left_out().any()


def test_what_is_left_out_gets_no_weight_and_the_others_share_it():
    held = gate(hard=1.5)
    held.importance_E.copy_(torch.tensor([0.7, 0.1, 0.1, 0.1]))
    gated = held(torch.tensor([[[0.5, 0.3, 0.1, 0.1]]]).log())
    assert gated.chosen_BTK.item() == 1
    assert gated.weight_BTK.item() == pytest.approx(0.3 / 0.5)


def test_an_expert_that_was_left_out_comes_back():
    held, seen = gate(hard=2.0, memory=2), []
    for _ in range(4):
        seen.append(held(logits_of(0)).chosen_BTK.item())
        held.after_step()
    assert seen[0] == 0
    assert seen[1] != 0
    assert 0 in seen[2:]


def test_micro_batches_of_one_step_are_counted_together():
    one, two = gate(hard=2.0), gate(hard=2.0)
    one(logits_of(0, 1, 1, 2))
    two(logits_of(0, 1))
    two(logits_of(1, 2))
    one.after_step()
    two.after_step()
    assert torch.equal(one.importance_E, two.importance_E)


@pytest.mark.parametrize(("experts", "top_k"), [(8, 1), (8, 2), (5, 3), (4, 4)])
def test_the_least_threshold_leaves_k_experts_however_the_importance_lies(experts, top_k):
    least = least_hard(experts, top_k)
    held = ConstrainedGate(experts, top_k, renormalise=False, hard=least)
    for above in range(1, experts):
        # As many as can be just above the threshold, and nothing for the others.
        share = torch.zeros(experts)
        share[:above] = 1 / above
        held.importance_E.copy_(share)
        assert int((~held.left_out()).sum()) >= top_k
    with pytest.raises(ValueError, match=f"that leaves {top_k} experts is at least"):
        ConstrainedGate(experts, top_k, renormalise=False, hard=0.99 * least)


def test_the_router_reads_the_mean_token_and_says_the_same_of_every_token():
    router = WholeInputRouter(3, 2)
    x_BTD = torch.randn(4, 5, 3)
    logits = router(x_BTD)
    assert logits.shape == (4, 5, 2)
    torch.testing.assert_close(logits[:, 0], x_BTD.mean(1) @ router.linear.weight_DE)
    assert torch.equal(logits, logits[:, :1].expand_as(logits))
    assert router(x_BTD.bfloat16()).dtype == torch.float32


def test_weights_are_added_up_by_expert_either_way():
    chosen_N, weight_N = torch.tensor([2, 0, 2, 1]), torch.tensor([0.5, 0.25, 0.125, 1.0])
    for atomic in (True, False):
        sum_E = torch.tensor([1.0, 0.0, 0.0, 3.0])
        add_by_expert(sum_E, chosen_N, weight_N, atomic=atomic)
        assert sum_E.tolist() == [1.25, 1.0, 0.625, 3.0]
