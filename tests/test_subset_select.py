"""Which experts act, as masks."""

import pytest
import torch

from moebench.contract import Routing
from moebench.hosts.host import Visit
from moebench.measures.subset.scores import score_named
from moebench.measures.subset.select import all_but, fixed, keep_largest, largest, nothing

MASS_BE = torch.tensor([[5.0, 1, 4, 3, 2, 0, 0, 0], [0, 0, 1, 2, 3, 4, 5, 6]])


class OfExperts(torch.nn.Module):
    def __init__(self, num_experts):
        super().__init__()
        self.num_experts = num_experts


def visit(mass_BE=MASS_BE, index=0):
    inputs, experts = mass_BE.shape
    return Visit(index, OfExperts(experts), torch.zeros(inputs, 1, 1), Routing.soft(mass_BE.unsqueeze(1)))


def experts(keep_BE):
    assert keep_BE.dtype == torch.bool
    return [row.nonzero().flatten().tolist() for row in keep_BE]


@pytest.mark.parametrize(("number", "share"), [(1, 1 / 8), (2, 1 / 4), (4, 1 / 2), (8, 1.0)])
def test_a_number_and_a_share_keep_each_inputs_own_largest(number, share):
    first, second = [0, 2, 3, 4, 1, 5, 6, 7], [7, 6, 5, 4, 3, 2, 0, 1]
    expected = [sorted(first[:number]), sorted(second[:number])]
    for count in (number, share):
        assert experts(largest(score_named("combine_sum"), count)(visit())) == expected


def test_of_equal_scores_the_first_experts_are_kept():
    assert experts(keep_largest(torch.zeros(2, 8), 3)) == [[0, 1, 2]] * 2
    assert experts(keep_largest(torch.tensor([[1.0, 2, 2, 2]]), 2)) == [[1, 2]]


def test_fixed_keeps_these_for_every_input_and_layer():
    for index in (0, 1):
        assert experts(fixed((1, 6))(visit(index=index))) == [[1, 6]] * 2


def test_nothing_keeps_nothing():
    assert experts(nothing(visit())) == [[], []]


def test_all_but_masks_one_expert_of_one_layer():
    select = all_but(layer=1, expert=3)
    assert experts(select(visit(index=1))) == [[0, 1, 2, 4, 5, 6, 7]] * 2
    assert select(visit(index=0)) is None


def test_random_subsets_are_independent_for_each_input_call_and_expert():
    select = largest(score_named("random", generator=torch.Generator().manual_seed(0)), 1 / 4)
    draws = [select(visit(torch.zeros(4000, 8))) for _ in range(2)]
    for keep_BE in draws:
        assert (keep_BE.sum(1) == 2).all()
        assert torch.allclose(keep_BE.double().mean(0), torch.full((8,), 0.25, dtype=torch.double), atol=0.03)
    # Two independent pairs of 8 share 2 x 2 / 8 experts on average.
    for one_BE, other_BE in (draws, (draws[0][:-1], draws[0][1:])):
        assert float((one_BE & other_BE).sum(1).double().mean()) == pytest.approx(0.5, abs=0.05)
