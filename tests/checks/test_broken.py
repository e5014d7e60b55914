"""Every check bites: each broken variant fails the check that is meant for it, and the message says why."""

from __future__ import annotations

import broken_budget
import broken_function
import broken_masks
import broken_registration
import broken_routing
import broken_state
import broken_subsets
import broken_views
import pytest
from cases import CASES
from good import Good, GoodLayer

from moebench.checks import all_checks, run_checks

MODULES = (
    broken_budget,
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


def test_every_check_has_a_broken_variant():
    assert {case.check for case in CASES.values()} == set(all_checks())
