"""Compute multipliers by hand and by simulation, and what is said outside the ladder."""

from math import exp, log

import numpy as np
import pytest

from moebench.statistics.multiplier import (
    compute_multiplier,
    gain_recovered,
    multiplier_mean,
    multiplier_ratio,
    power_law,
    steps_to,
)

FLOPS = (1.0, 2.0, 4.0, 8.0)
LADDER = (4.0, 3.6, 3.4, 3.3)


def same(losses, seeds=3):
    return np.tile(losses, (seeds, 1))


def test_a_loss_of_the_ladder_has_the_compute_of_its_size():
    for flops, loss in zip(FLOPS, LADDER, strict=True):
        assert compute_multiplier(FLOPS, same(LADDER), [loss] * 3, 1.0).value == pytest.approx(flops)


def test_between_two_sizes_log_compute_is_linear_in_the_loss():
    found = compute_multiplier(FLOPS, same(LADDER), [3.5] * 3, 1.5)  # half way from 2 to 4
    assert found.value == pytest.approx(2**1.5 / 1.5)
    assert found.low is found.high is None  # seeds without spread set no bounds


def test_the_interval_by_hand():
    """Between losses 4.0 and 3.6, a factor 2 for 0.4 nats: log 2 / 0.4 for each nat that a seed is off."""
    own = np.array([3.7, 3.8, 3.9])
    found = compute_multiplier(FLOPS, same(LADDER), own, 1.0)
    slope = log(2) / 0.4
    assert found.log_S == pytest.approx([slope * (4.0 - loss) for loss in own])
    half = 4.302652729749464 * slope * 0.1 / 3**0.5
    centre = slope * 0.2
    assert found.value == pytest.approx(exp(centre))
    assert found.high == pytest.approx(exp(centre + half))
    assert found.low is None  # below the smallest size


def test_seeds_that_are_off_together_cancel():
    shift = np.array([[0.0], [0.1], [-0.1]])
    found = compute_multiplier(FLOPS, same(LADDER) + shift, np.array([3.5, 3.6, 3.4]), 1.0)
    assert found.log_S == pytest.approx([1.5 * log(2)] * 3)


@pytest.mark.parametrize(("loss", "beyond", "limit"), [(3.2, "above", 8 / 2), (4.1, "below", 1 / 2)])
def test_outside_the_ladder_there_is_a_limit_and_no_number(loss, beyond, limit):
    found = compute_multiplier(FLOPS, same(LADDER), [loss] * 3, 2.0)
    assert (found.value, found.low, found.high, found.beyond) == (None, None, None, beyond)
    assert found.limit == pytest.approx(limit)


def test_a_ladder_that_does_not_fall_is_refused():
    with pytest.raises(ValueError, match="does not fall"):
        compute_multiplier(FLOPS, same((4.0, 3.6, 3.7, 3.3)), [3.5] * 3, 1.0)
    with pytest.raises(ValueError, match="2 or more"):
        compute_multiplier((1.0,), same((4.0,)), [3.5] * 3, 1.0)


def test_the_worth_of_routing_is_a_ratio_paired_by_seed():
    noise = np.array([0.0, 0.02, -0.02])
    row = compute_multiplier(FLOPS, same(LADDER), 3.5 + noise, 1.0)
    null = compute_multiplier(FLOPS, same(LADDER), 3.55 + noise, 1.0)
    worth = multiplier_ratio(row, null)
    assert worth.value == pytest.approx(2**0.25)
    assert worth.log_S == pytest.approx([0.25 * log(2)] * 3)


def test_what_a_limit_says_of_a_ratio():
    inside = compute_multiplier(FLOPS, same(LADDER), [3.6] * 3, 1.0)
    above = compute_multiplier(FLOPS, same(LADDER), [3.0] * 3, 1.0)
    below = compute_multiplier(FLOPS, same(LADDER), [5.0] * 3, 1.0)
    assert (multiplier_ratio(above, inside).beyond, multiplier_ratio(above, inside).limit) == ("above", 4.0)
    assert (multiplier_ratio(inside, above).beyond, multiplier_ratio(inside, above).limit) == ("below", 0.25)
    assert multiplier_ratio(above, below).limit == 8.0
    assert multiplier_ratio(above, above).beyond == ""


def test_over_tasks_it_is_a_geometric_mean():
    one, four, eight = (compute_multiplier(FLOPS, same(LADDER), [loss] * 3, 1.0) for loss in (4.0, 3.4, 3.3))
    assert multiplier_mean([one, four]).value == pytest.approx(2)
    assert multiplier_mean([eight]) is eight
    above = compute_multiplier(FLOPS, same(LADDER), [3.0] * 3, 1.0)
    below = compute_multiplier(FLOPS, same(LADDER), [5.0] * 3, 1.0)
    assert (multiplier_mean([above, one]).beyond, multiplier_mean([above, one]).limit) == (
        "above",
        pytest.approx(8**0.5),
    )
    assert (multiplier_mean([below, four]).beyond, multiplier_mean([below, four]).limit) == ("below", pytest.approx(2))
    assert multiplier_mean([above, below]).beyond == ""


@pytest.mark.parametrize("seeds", [5, 8])
def test_the_printed_interval_covers(seeds):
    """Losses with deviation 0.008 around a power law; the truth is the interpolation of the true ladder."""
    random, boards = np.random.default_rng(0), 2000
    flops = np.array([1.0, 2.0, 4.0, 8.0])
    truth_K = 2.0 + 1.5 * flops**-0.3
    covered = widths = ratios = 0
    loss, null = 0.4 * truth_K[1] + 0.6 * truth_K[2], 0.7 * truth_K[1] + 0.3 * truth_K[2]
    true = [2.0 * 2.0 ** ((truth_K[1] - each) / (truth_K[1] - truth_K[2])) for each in (loss, null)]
    for _ in range(boards):
        noise = random.normal(0, 0.008, (seeds, 6))
        ladder = truth_K + noise[:, :4]
        row = compute_multiplier(flops, ladder, loss + noise[:, 4], 1.0)
        other = compute_multiplier(flops, ladder, null + noise[:, 5], 1.0)
        covered += row.low <= true[0] <= row.high
        worth = multiplier_ratio(row, other)
        ratios += worth.low <= true[0] / true[1] <= worth.high
        widths += row.high / row.low
    assert 0.94 <= covered / boards <= 0.97
    assert 0.94 <= ratios / boards <= 0.97
    assert widths / boards < 1.5


def test_gain_recovered_is_0_for_the_null_and_1_for_the_oracle():
    null, oracle = np.array([4.1, 4.0, 4.2]), np.array([3.6, 3.5, 3.65])
    assert gain_recovered(null, null, oracle).value == 0
    assert gain_recovered(null, oracle, oracle).value == 1
    found = gain_recovered(null, (null + oracle) / 2 + [0.01, 0.0, -0.01], oracle)
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    none = gain_recovered(null, null - 0.1, np.add(null, [0.1, -0.1, 0.05]))
    assert none.low is none.high is None  # nothing to recover


@pytest.mark.parametrize("seeds", [5, 8])
def test_the_interval_of_the_gain_covers(seeds):
    random, boards = np.random.default_rng(1), 3000
    covered = 0
    for _ in range(boards):
        null, own, oracle = (mean + random.normal(0, 0.01, seeds) for mean in (4.12, 4.05, 4.0))
        found = gain_recovered(null, own, oracle)
        covered += found.low is not None and found.low <= 7 / 12 <= found.high
    assert 0.94 <= covered / boards <= 0.97


def test_a_power_law_is_found_again():
    flops = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    loss = 2.0 + 1.5 * flops**-0.3
    given = power_law(flops[:3], loss[:3], floor=2.0)
    assert (given.scale, given.exponent) == (pytest.approx(1.5), pytest.approx(0.3))
    fitted = power_law(flops, loss)
    assert fitted.floor == pytest.approx(2.0, abs=0.01)
    assert fitted.residual_K == pytest.approx([0] * 5, abs=1e-5)
    with pytest.raises(ValueError, match="five sizes"):
        power_law(flops[:4], loss[:4])


def test_steps_to_a_loss_are_those_after_which_it_stays():
    steps = [100, 200, 300, 400, 500, 600]
    assert steps_to(steps, [5, 4, 3, 2, 1, 0.5], 2.0, smooth=1) == 400
    assert steps_to(steps, [5, 1, 3, 2, 1, 0.5], 2.0, smooth=1) == 400  # a dip is no arrival
    assert steps_to(steps, [5, 4, 3, 9, 2, 1], 4.0, smooth=3) == 200  # one bad point is smoothed away
    assert steps_to(steps, [5, 4, 3, 3, 3, 3], 2.0) is None
    assert steps_to(steps, [1, 1, 1, 1, 1, 1], 2.0) == 100
