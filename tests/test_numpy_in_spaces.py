"""Values of numpy in a space are the numbers they are; what is no plain value is a row with one sentence."""

import json

import numpy as np
import pytest
import torch

from moebench.contract import Choice, Uniform
from moebench.contract.space import plain
from moebench.plans.cache import get_plan
from plans import ALONE, a_request

TUNED = """
import numpy as np
from moebench.contract import LogUniform
from moevariants.sparse_topk import SparseTopK


class Npl(SparseTopK):
    name = "npl"
    tune = {{"experts": {options}, "loss/balance": LogUniform({low}, {high}, default={default})}}
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(8), 8),
        (np.bool_(True), True),
        (np.float32(0.1), 0.1),
        (np.float64(1 / 3), 1 / 3),
        (np.float16(0.01), 0.01),
        (np.str_("a"), "a"),
        (np.array(3), 3),
        (torch.tensor(4), 4),
        ("a", "a"),
        (None, None),
    ],
)
def test_a_value_of_a_library_of_arrays_becomes_pythons_own(value, expected):
    assert (plain(value), type(plain(value))) == (expected, type(expected))


@pytest.mark.parametrize(
    "value", [np.array([1, 2]), (1, 2), [1], {"a": 1}, object(), 1j, float("nan"), np.float64("inf")]
)
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"no (finite )?number"):
        Choice((value,))


def test_choices_and_ranges_hold_plain_values():
    choice = Choice(tuple(np.array([8, 16])), np.int32(16))
    assert json.dumps([choice.options, choice.default]) == "[[8, 16], 16]"
    assert Choice(np.array([8, 16])).options == (8, 16)
    bounds = Uniform(np.float32(0.001), np.float32(0.1), np.float32(0.0099), np.bool_(True))
    assert json.dumps([bounds.low, bounds.high, bounds.default, bounds.log]) == "[0.001, 0.1, 0.0099, true]"
    assert Uniform(np.float32(0.1), 1, 0.1).default == 0.1


def planned(tmp_path, **changes):
    values = {"options": "tuple(np.array([8, 16]))", "low": "1e-3", "high": "1e-1", "default": "1e-2"} | changes
    (tmp_path / "npl.py").write_text(TUNED.format(**values))
    return get_plan(a_request([f"{tmp_path}/npl.py:Npl"], **ALONE), tmp_path / "results")


def test_a_variant_with_numpy_in_its_space_is_planned_with_plain_settings(tmp_path):
    plan = planned(tmp_path, low="np.float32(1e-3)", high="np.float32(1e-1)", default="np.float32(0.0099)")
    (group,) = plan.groups_of("npl")
    assert group.problem == ""
    assert group.space["experts"]["options"] == [8, 16]
    assert {type(value) for trial in group.trials for value in trial.values()} <= {int, float, str, bool, type(None)}
    assert group.trials[0]["loss/balance"] == 0.0099


def test_a_setting_that_is_no_plain_value_is_a_row_with_its_name_value_and_type_and_the_others_are_planned(tmp_path):
    plan = planned(tmp_path, options="(8, (16, 32))")
    problems = {group.row: group.problem for group in plan.groups}
    assert problems["dense"] == ""
    assert all(part in problems["npl"] for part in ("'experts'", "(16, 32)", "tuple"))
