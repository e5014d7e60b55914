"""What models make of the pairs: every Soft MoE breaks, a residual does not, and controls that must not."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from moebench.errors import UsageError
from moestudies.theorem import RouterWeights, allowance, measure, pairs
from moestudies.theorem.__main__ import EXPERTS, ROUTERS, SLOTS, TOKENISED, line, summary, untrained_curves

SCALES = np.array([1.0, 1e3, 1e4])
ROUTER = RouterWeights(np.array([[1.0, -1.0], [0.5, 0.0]]))


@pytest.fixture(scope="module")
def curves():
    return untrained_curves(scale_N=SCALES, bias=True)


class Of(nn.Module):
    """A function of x_BTD as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x_BTD):
        return self.function(x_BTD)


def test_curves_cover_every_case(curves):
    cases = [(c.experts, c.slots, c.router, c.residual, (c.tokens, c.dim)) for c in curves]
    assert len(cases) == len(set(cases))
    assert set(cases) == set(itertools.product(EXPERTS, SLOTS, ROUTERS, (False, True), TOKENISED))


def test_without_a_residual_no_expert_count_tells_the_inputs_apart(curves):
    for curve in curves:
        if not curve.residual:
            assert (curve.outputs.output_N[1:] < 1e-2).all(), curve
            assert curve.outputs.breaks_N[1:].all(), curve
            assert curve.sums.breaks_N[1:].all(), curve


def test_with_a_residual_the_outputs_differ_as_the_inputs_do(curves):
    for curve in curves:
        if curve.residual:
            assert not curve.outputs.breaks_N.any(), curve
            # The layer's part is the same, so that x alone differs: T - 1 small tokens by 0.6 a each, and for equal
            # means the first one by T - 1 times as much.
            by = 0.6 * math.sqrt(curve.tokens - 1) * (math.sqrt(curve.tokens) if curve.router == "l2" else 1)
            np.testing.assert_allclose(curve.outputs.output_N[1:], by * SCALES[1:], rtol=1e-4)


def test_a_fixed_sum_does_not_see_a_residual_whose_mean_is_the_same(curves):
    for curve in curves:
        if curve.residual and curve.router == "l2":
            assert curve.sums.breaks_N[1:].all(), curve


def test_the_norm_itself_breaks_nowhere():
    gaps = measure(Of(lambda x_BTD: x_BTD.flatten(1).norm(dim=1)), pairs(ROUTER, 3), SCALES)
    np.testing.assert_allclose(gaps.output_N, gaps.norm_N)
    assert not gaps.breaks_N.any()


def test_a_constant_breaks_as_soon_as_the_allowance_is_left():
    gaps = measure(Of(lambda x_BTD: x_BTD.new_zeros(len(x_BTD))), pairs(ROUTER, 2), np.array([1.0, 7.0, 8.0, 1e3]))
    # sqrt 1.64 - sqrt 1.04 = 0.2608 a against 2 while both norms are below 20, so from a = 7.67 on.
    assert gaps.breaks_N.tolist() == [False, False, True, True]
    assert gaps.norm_N[-1] == pytest.approx(1e3 * (math.sqrt(1.64) - math.sqrt(1.04)))
    assert gaps.allowance_N[-1] == pytest.approx(50 * (math.sqrt(1.64) + math.sqrt(1.04)))


def test_equal_shares_would_show_nothing():
    same = dataclasses.replace(pairs(ROUTER, 3), shares=(0.5, 0.5))
    gaps = measure(Of(lambda x_BTD: x_BTD.new_zeros(len(x_BTD))), same, SCALES)
    assert not gaps.norm_N.any()
    assert not gaps.breaks_N.any()


def test_allowance_is_one_below_twenty():
    assert allowance(np.array([0.0, 20.0, 40.0])).tolist() == [1, 1, 2]


def test_the_model_is_left_as_it_was_and_works_in_float64():
    model = nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))
    gaps = measure(model, pairs(ROUTER, 2), SCALES)
    assert gaps.output_N.dtype == np.float64
    assert model[0].weight.dtype == torch.float32
    assert model.training


def test_predict_takes_models_with_other_inputs():
    flat = nn.Linear(4, 3)
    gaps = measure(flat, pairs(ROUTER, 2), SCALES, predict=lambda model, x_BTD: model(x_BTD.flatten(1)))
    assert gaps.output_N.shape == (3,)


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (lambda x_BTD: x_BTD.sum(), "a tensor of shape ()"),
        (lambda x_BTD: x_BTD[:1], "a tensor of shape (1, 2, 2)"),
        (lambda x_BTD: (x_BTD, None), "a tuple"),
    ],
)
def test_a_model_without_one_row_per_input_is_refused(function, given):
    with pytest.raises(UsageError) as caught:
        measure(Of(function), pairs(ROUTER, 2), SCALES)
    assert (caught.value.code, caught.value.facts["given"]) == ("one-row-per-input", given)


def test_the_table_says_where_a_model_breaks(curves):
    plain = next(c for c in curves if (c.tokens, c.experts, c.router, c.residual) == (5, 10, "plain", False))
    assert line(plain).split()[:6] == ["5", "2", "plain", "10", "1", "no"]
    assert line(plain).split()[-1] == "1e+03"


def test_the_page_shows_the_summary_of_the_command():
    page = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
    lines = summary(untrained_curves())
    assert len(lines) == 8
    for text in lines:
        assert text in page
