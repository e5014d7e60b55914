"""Each mistake in a setting is one sentence that names it."""

import re

import pytest

from moebench.contract import Variant
from moevariants.parts import number, switch, whole


class Mine(Variant):
    name = "mine"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
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
    def read(experts=4, noise=0.0, normalise=False):
        whole(Mine(), "experts", experts, 8, " (says the test)")
        number(Mine(), "noise", noise)
        switch(Mine(), "normalise", normalise)

    with pytest.raises(ValueError, match=re.escape(sentence)):
        read(**settings)


def test_whole_numbers_are_numbers():
    assert whole(Mine(), "experts", 4) == 4
    assert switch(Mine(), "normalise", True) is True
    assert isinstance(number(Mine(), "noise", 1), float)
