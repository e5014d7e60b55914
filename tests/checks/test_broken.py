"""Every check bites: each broken variant fails the check that is meant for it, and the message says why."""

from __future__ import annotations

import broken_budget
import broken_data
import broken_first
import broken_function
import broken_masks
import broken_registration
import broken_routing
import broken_state
import broken_subsets
import broken_views
import pytest
import torch
from cases import CASES
from good import Good, GoodLayer

from moebench.budgets.count import active_parameters, empty_experts
from moebench.checks import all_checks, run_checks
from moebench.contract import LayerShape

MODULES = (
    broken_budget,
    broken_data,
    broken_first,
    broken_function,
    broken_masks,
    broken_registration,
    broken_routing,
    broken_state,
    broken_subsets,
    broken_views,
)


class RouterInBf16Layer(GoodLayer):
    def logits(self, x):
        return x @ self.gate


class RouterInBf16(Good):
    makes = RouterInBf16Layer


@pytest.mark.parametrize("name", sorted(CASES))
def test_broken_variant_is_caught_by_its_check(name):
    case = CASES[name]
    row = run_checks(case.variant, only=[case.check])[case.check]
    assert row.outcome == "fails", f"{row.outcome}: {row.message}"
    for words in case.words:
        assert words in row.message


def test_router_in_bf16_is_noted_and_does_not_fail():
    row = run_checks(RouterInBf16(), only=["bf16_autocast"])["bf16_autocast"]
    assert row.outcome == "holds"
    assert "keep the router in fp32" in row.notes[0]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class DoublesGradientsLayer(GoodLayer):
    def compute(self, x, routing, keep=None):
        return Doubled.apply(super().compute(x, routing, keep))


class SixExperts(Good):
    tune = {"experts": (6,)}


ONLY_NOTED = {
    "gradient_is_a_derivative": type("Wrong", (Good,), {"makes": DoublesGradientsLayer}),
    "numbers_of_experts": SixExperts,
}


@pytest.mark.parametrize("name", ONLY_NOTED)
def test_what_may_be_honest_is_noted_and_does_not_fail(name):
    row, good = (run_checks(variant(), only=[name])[name] for variant in (ONLY_NOTED[name], EightExperts))
    assert (row.outcome, len(row.notes), good.notes) == ("holds", 1, ())


class EightExperts(Good):
    tune = {"experts": (8,)}


def test_every_check_has_a_broken_variant():
    assert {case.check for case in CASES.values()} | set(ONLY_NOTED) == set(all_checks())


@pytest.mark.parametrize("name", ["raises_in_forward", "leaves_its_gate_undrawn"])
def test_what_all_checks_rest_on_is_said_once(name):
    report = run_checks(CASES[name].variant)
    assert [row.name for row in report.failures] == [CASES[name].check]
    assert report.untried == len(all_checks()) - len(report.rows) > 45


class ZeroExpertLayer(GoodLayer):
    """Its last expert has no parameters, and adds nothing."""

    def __init__(self, shape, hidden, experts, top_k):
        super().__init__(shape, hidden, experts, top_k)
        for name in self.expert_parameters():
            setattr(self, name, torch.nn.Parameter(getattr(self, name)[:-1].detach().clone()))

    def experts_held(self, name):
        return range(self.num_experts - 1)

    def expert(self, e, rows):
        return super().expert(e, rows) if e < self.num_experts - 1 else rows.new_zeros(len(rows), self.shape.out_dim)


class ZeroExpert(Good):
    makes, single_expert = ZeroExpertLayer, ""


def test_an_expert_without_parameters_is_noted():
    report = run_checks(ZeroExpert)
    assert [(row.name, row.message) for row in report.failures] == []
    assert report["routing_is_a_routing"].notes


def test_active_parameters_are_those_of_choices_of_experts_that_have_any():
    layer = ZeroExpertLayer(LayerShape(dim=8, out_dim=8, tokens=4), 4, 5, 2)
    each = 8 * 4 + 4 + 4 * 8 + 8
    assert empty_experts(layer) == [4]
    assert active_parameters(layer) == layer.gate.numel() + 2 * each
