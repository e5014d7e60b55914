"""What the routing alone tells, by hand and against scikit-learn."""

import math

import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch.nn import functional as F

from moebench.measures.scores.information import (
    class_information,
    dead_share,
    entropy,
    load_entropy,
    max_violation,
    normalised_information,
    shares,
)


def hard(expert_N, experts):
    return F.one_hot(torch.as_tensor(expert_N), experts).float()


def draw(high, count=360, seed=0):
    return torch.randint(high, (count,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(3))
def test_chance_alone_scores_nearly_0_after_the_correction_and_a_third_before(seed):
    target_N, mass_NE = draw(10, seed=seed), hard(draw(64, seed=seed + 10), 64)
    assert normalised_information(shares(mass_NE), target_N) == pytest.approx(0.36, abs=0.04)
    assert class_information(mass_NE, target_N) == pytest.approx(0, abs=0.03)


def test_one_expert_a_class_scores_nearly_1():
    target_N = torch.arange(10).repeat(36)
    assert normalised_information(shares(hard(target_N, 10)), target_N) == pytest.approx(1)
    assert 0.93 < class_information(hard(target_N, 16), target_N) < 1


def test_hard_routing_agrees_with_scikit_learn():
    target_N, expert_N = draw(5), (draw(5) + draw(2, seed=1)) % 7
    entropy_C = -sum(p * math.log(p) for p in (torch.bincount(target_N) / 360).tolist())
    expected = mutual_info_score(target_N, expert_N) / entropy_C
    assert normalised_information(shares(hard(expert_N, 7)), target_N) == pytest.approx(expected)


def test_soft_routing_by_hand():
    """Two classes, p(e0 | x) = 3/4 in one and 1/4 in the other."""
    mass_NE, target_N = torch.tensor([[3.0, 1.0], [1.0, 3.0]]), torch.tensor([0, 1])
    joint = [3 / 8, 1 / 8, 1 / 8, 3 / 8]
    information = sum(p * math.log(p / (1 / 4)) for p in joint)
    assert normalised_information(shares(mass_NE), target_N) == pytest.approx(information / math.log(2))


@pytest.mark.parametrize("mass_NE", [torch.ones(360, 8), hard([3] * 360, 8), torch.ones(360, 1)])
def test_a_routing_that_does_not_depend_on_the_input_tells_nothing(mass_NE):
    assert class_information(mass_NE, draw(10)) == pytest.approx(0, abs=1e-9)


def test_one_class_leaves_nothing_to_tell():
    assert class_information(hard(draw(8), 8), torch.zeros(360, dtype=torch.long)) == 0


def test_an_inputs_amount_of_mass_does_not_matter():
    mass_NE, target_N = torch.rand(360, 8, generator=torch.Generator().manual_seed(0)), draw(10)
    scaled_NE = mass_NE * torch.linspace(0.5, 16, 360).unsqueeze(1)
    assert class_information(scaled_NE, target_N) == pytest.approx(class_information(mass_NE, target_N), abs=1e-6)


def test_the_permutations_are_the_same_each_time_and_torchs_own_numbers_stay():
    mass_NE, target_N, state = hard(draw(8, seed=3), 8), draw(10), torch.get_rng_state()
    assert class_information(mass_NE, target_N) == class_information(mass_NE, target_N)
    assert torch.equal(torch.get_rng_state(), state)


def test_shares_sum_to_1_and_an_input_without_mass_counts_as_uniform():
    found = shares(torch.tensor([[3.0, 1.0], [0.0, 0.0]]))
    assert found.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_entropy_by_hand():
    assert entropy(torch.tensor([0.5, 0.5, 0.0])) == pytest.approx(math.log(2))
    assert entropy(torch.tensor([[1.0, 0.0]])) == 0


@pytest.mark.parametrize(("expert_N", "expected"), [([0, 1, 2, 3], 1.0), ([0, 0, 0, 0], 0.0), ([0, 0, 1, 1], 0.5)])
def test_load_entropy_by_hand(expert_N, expected):
    assert load_entropy(hard(expert_N, 4)) == pytest.approx(expected)


def test_load_entropy_of_one_expert_is_balanced():
    assert load_entropy(torch.ones(3, 1)) == 1


def test_dead_share_counts_experts_below_a_tenth_of_their_part():
    """Of 4 experts one has no share at all, and one a share of 0.02 < 0.1 / 4."""
    assert dead_share(torch.tensor([[0.49, 0.49, 0.02, 0.0]])) == 0.5
    assert dead_share(torch.tensor([[0.48, 0.49, 0.03, 0.0]])) == 0.25
    assert dead_share(torch.ones(3, 4)) == 0


def test_max_violation_by_hand():
    assert max_violation(torch.tensor([[4.0, 0.0], [2.0, 2.0]])) == pytest.approx(6 / 4 - 1)
    assert max_violation(torch.ones(3, 4)) == 0
    assert max_violation(torch.zeros(3, 4)) == 0
