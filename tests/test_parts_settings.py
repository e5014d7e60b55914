"""Each mistake in a setting is one sentence that names it."""

import re

import pytest

from moebench.budgets import Budget
from moebench.contract import Choice, LayerShape
from moevariants.parts import Given, fitting
from moevariants.soft_moe import SoftMoE

KNOWN = ("experts", "slots", "noise", "normalise")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"slot": 1}, "mine has no setting 'slot'; did you mean 'slots'?"),
        ({"zzzz": 1}, "mine has no setting 'zzzz'; it has: experts, noise, normalise, slots"),
        ({"experts": 0}, "mine: experts must be a whole number of at least 1, not 0"),
        ({"experts": True}, "mine: experts must be a whole number of at least 1, not True"),
        ({"experts": 8.0}, "mine: experts must be a whole number of at least 1, not 8.0"),
        ({"experts": 9}, "mine: experts must be at most 8 (says the test), not 9"),
        ({"noise": -0.1}, "mine: noise must be a number of at least 0, not -0.1"),
        ({"noise": float("nan")}, "mine: noise must be a number of at least 0, not nan"),
        ({"noise": float("inf")}, "mine: noise must be a number of at least 0, not inf"),
        ({"noise": False}, "mine: noise must be a number of at least 0, not False"),
        ({"normalise": 1}, "mine: normalise must be true or false, not 1"),
    ],
)
def test_wrong_setting_is_named(settings, sentence):
    def read():
        given = Given("mine", KNOWN, settings)
        given.whole("experts", 4, 8, " (says the test)")
        given.number("noise", 0.0)
        given.switch("normalise", False)

    with pytest.raises(ValueError, match=re.escape(sentence)):
        read()


def test_missing_settings_take_the_default_and_whole_numbers_are_numbers():
    given = Given("mine", KNOWN, {"noise": 1})
    assert given.whole("experts", 4) == 4
    assert given.switch("normalise", True) is True
    assert given.number("noise", 0.0) == 1.0


def test_only_options_that_can_meet_the_budget_are_offered():
    shape = LayerShape(dim=64, out_dim=64, tokens=16)
    # E (64 + 129 H + 64): 64 experts reach 16,448 and 24,704; 8 experts come near, 16,504 and exactly 25,792.
    assert fitting(SoftMoE(), Budget("total", 16_448, (shape,)), "experts", (8, 64)) == Choice((8, 64))
    assert fitting(SoftMoE(), Budget("total", 25_792, (shape,)), "experts", (64, 8)) == Choice((8,))


def test_unreachable_budget_leaves_the_first_option_to_be_reported():
    shape = LayerShape(dim=64, out_dim=64, tokens=16)
    assert fitting(SoftMoE(), Budget("total", 100, (shape,)), "experts", (8, 16)) == Choice((8,))
