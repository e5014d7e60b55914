"""Trials may have fewer steps than final runs: the same for every row, told on the board."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from boards import Bench, hand_plan
from moebench.board import words
from moebench.board.data import to_json
from moebench.errors import SuiteError
from moebench.plans.estimate import guess_seconds, tally
from moebench.plans.plan import Plan
from plans import ALONE, Records, a_plan, a_suite, group_of


def test_trials_have_their_steps_and_finals_those_of_training():
    records = Records()
    plan = a_plan(**ALONE, tuning={"steps": 4})
    records.settle_all(plan)
    group = group_of(plan, "dense")
    assert {cell.steps for cell in group.trial_cells} == {4}
    assert {cell.steps for cell in group.final_cells(records)} == {10}


def test_without_the_key_plans_and_identities_are_as_before():
    plan = a_plan(**ALONE)
    assert "steps" not in plan.suite.model_dump(mode="json")["tuning"]
    assert "trial_steps" not in plan.to_json()["groups"][0]
    assert {cell.steps for cell in group_of(plan, "dense").trial_cells} == {10}


def test_a_plan_comes_back_from_its_file():
    plan = a_plan(**ALONE, tuning={"steps": 4})
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.groups[0].trial_cells == plan.groups[0].trial_cells
    assert again.suite.tuned.steps == 4


def test_trials_longer_than_finals_are_refused():
    assert a_suite(tuning={"steps": 10}).tuned.steps == 10
    with pytest.raises(SuiteError, match="only 10"):
        a_suite(tuning={"steps": 11})
    with pytest.raises(SuiteError, match="only 3"):
        a_suite(tuning={"steps": 4}, task=[{"name": "digits", "training": {"steps": 3}}])


def test_their_time_is_guessed_and_scaled_by_their_steps():
    plan, records = a_plan(**ALONE, tuning={"steps": 5}), Records()
    group = group_of(plan, "dense")
    trial, final = (guess_seconds(group.template | {"steps": n}, group.amount, group.tokens, "cpu") for n in (5, 10))
    (guessed,) = tally(plan, records)
    assert guessed.seconds == pytest.approx(4 * trial + 2 * final)
    for cell in group.trial_cells:
        records.settle(cell, seconds=3.0)
    (known,) = tally(plan, records)
    assert (known.seconds, known.guessed) == (2 * 6.0, False)


def test_the_board_says_how_many_steps_and_gives_no_winners_curse(tmp_path: Path):
    plan = hand_plan(variants=["dense"])
    suite = plan.suite.model_copy(update={"tuning": plan.suite.tuned.model_copy(update={"steps": 100})})
    groups = tuple(dataclasses.replace(group, trial_steps=100) for group in plan.groups)
    boards = []
    for name, each in (("as_long", plan), ("shorter", dataclasses.replace(plan, suite=suite, groups=groups))):
        bench = Bench(tmp_path / name, plan=each)
        bench.tune("dense")
        bench.finish("dense", (0.95, 0.96, 0.97))
        boards.append(bench.board())
    as_long, shorter = boards
    assert " of 100 steps" in words.how_ranked(shorter)
    assert " of 100 steps" in dict(words.shared_settings(shorter))["tuning"]
    assert " steps" not in words.how_ranked(as_long)
    assert json.loads(to_json(shorter))["trial_steps"] == 100
    assert "trial_steps" not in json.loads(to_json(as_long))
    assert as_long.entry("dense").winners_curse is not None
    assert shorter.entry("dense").winners_curse is None
