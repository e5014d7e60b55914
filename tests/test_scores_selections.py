"""Which experts act, as masks."""

import pytest
import torch

from moebench.contract import Routing
from moebench.scores import selections
from moebench.scores.selections import keep_largest

MASS_BE = torch.tensor([[5.0, 1, 4, 3, 2, 0, 0, 0], [0, 0, 1, 2, 3, 4, 5, 6]])


def kept(select, mass_BE=MASS_BE, layer=0):
    return select(layer, Routing(mass_BE=mass_BE))


def experts(keep_BE):
    return [row.nonzero().flatten().tolist() for row in keep_BE]


def test_top_mass_keeps_each_inputs_own_largest():
    assert experts(kept(selections.top_mass(1 / 8))) == [[0], [7]]
    assert experts(kept(selections.top_mass(1 / 4))) == [[0, 2], [6, 7]]
    assert experts(kept(selections.top_mass(1 / 2))) == [[0, 2, 3, 4], [4, 5, 6, 7]]


def test_of_equal_masses_the_first_experts_are_kept():
    assert experts(keep_largest(torch.zeros(2, 8), 3)) == [[0, 1, 2]] * 2
    assert experts(keep_largest(torch.tensor([[1.0, 2, 2, 2]]), 2)) == [[1, 2]]
    assert experts(keep_largest(torch.tensor([[1.0, 2.0]]), 0)) == [[]]


def test_static_keeps_the_layers_own_experts_for_every_input():
    mean_mass = [torch.arange(8.0), -torch.arange(8.0)]
    assert experts(kept(selections.static(1 / 4, mean_mass), layer=0)) == [[6, 7]] * 2
    assert experts(kept(selections.static(1 / 4, mean_mass), layer=1)) == [[0, 1]] * 2


def test_nothing_keeps_nothing():
    assert experts(kept(selections.nothing)) == [[], []]


def test_all_but_masks_one_expert_of_one_layer():
    select = selections.all_but(layer=1, expert=3)
    assert experts(kept(select, layer=1)) == [[0, 1, 2, 4, 5, 6, 7]] * 2
    assert kept(select, layer=0) is None


def test_random_draws_are_independent_for_each_input_call_and_expert():
    generator = torch.Generator().manual_seed(0)
    select = selections.random(1 / 4, generator)
    draws = [kept(select, torch.zeros(4000, 8)) for _ in range(2)]
    for keep_BE in draws:
        assert (keep_BE.sum(1) == 2).all()
        assert torch.allclose(keep_BE.double().mean(0), torch.full((8,), 0.25, dtype=torch.double), atol=0.03)
    # Two independent pairs of 8 share 2 x 2 / 8 experts on average.
    for one_BE, other_BE in (draws, (draws[0][:-1], draws[0][1:])):
        assert float((one_BE & other_BE).sum(1).double().mean()) == pytest.approx(0.5, abs=0.05)


def test_random_draws_repeat_with_the_generator_and_leave_torchs_own_alone():
    state = torch.get_rng_state()
    one, again = (kept(selections.random(0.5, torch.Generator().manual_seed(3))) for _ in range(2))
    assert torch.equal(one, again)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_layer_without_experts_has_no_subset():
    with pytest.raises(ValueError, match="without experts"):
        kept(selections.top_mass(0.5), mass_BE=None)
