"""Rows with names of their own: references of equal E and K, and a board ranked at equal active parameters."""

import json
import shutil
from pathlib import Path

import pytest

from moebench import load_board
from moebench.errors import ResultsError, SuiteError, UnknownNameError
from moebench.plans.make import make_plan
from moebench.plans.plan import Plan
from moebench.publish.sources import open_results
from moebench.publish.write import _left_out, publish
from moebench.records import Store
from moebench.suites import find_suites, load_experiment, load_suite
from moebench.suites.load import parse_suite
from moebench.suites.request import request_for
from plans import VALUES, a_plan, group_of
from publications import findings
from tiny import SUITE, run_tiny

FROZEN = {"name": "frozen", "variant": "random_router", "note": "frozen"}


def like(row, **changes):
    return {**FROZEN, "like": row, **changes}


@pytest.mark.parametrize("variant", ["random_router", "hash_position", "random_balanced"])
def test_a_reference_has_the_experts_and_choices_of_the_row_that_it_is_like(variant):
    space = {"sparse_topk": {"experts": [16], "top_k": [4]}}
    plan = a_plan(reference=[like("sparse_topk", variant=variant)], space=space)
    for name, value in (("experts", 16), ("top_k", 4)):
        assert {t[name] for row in ("sparse_topk", "frozen") for t in group_of(plan, row).trials} == {value}


def test_being_like_a_row_comes_before_what_the_space_says_of_the_variant():
    space = {"sparse_topk": {"experts": [16]}, "random_router": {"experts": [8]}}
    plan = a_plan(reference=[like("sparse_topk"), {**FROZEN, "name": "other"}], space=space)
    assert group_of(plan, "frozen").space["experts"]["options"] == [16]
    assert group_of(plan, "other").space["experts"]["options"] == [8]


@pytest.mark.parametrize("space", [{}, {"sparse_topk": {"experts": [8, 16]}}, {"sparse_topk": {"top_k": [1]}}])
def test_a_row_whose_experts_are_tuned_has_no_reference_like_it(space):
    with pytest.raises(SuiteError) as caught:
        a_plan(reference=[like("sparse_topk")], space=space)
    assert caught.value.code == "like-needs-one-sparsity"


def test_what_has_no_experts_is_like_nothing_and_nothing_is_like_it():
    with pytest.raises(SuiteError) as caught:
        a_plan(reference=[like("dense")], space={})
    assert caught.value.code == "like-needs-one-sparsity"
    with pytest.raises(UnknownNameError):
        a_plan(reference=[like("sparse_topk", variant="dense")], space={"sparse_topk": {"experts": [16]}})


def test_a_reference_is_like_a_ranked_row_of_the_suite():
    with pytest.raises(SuiteError) as caught:
        parse_suite({**VALUES, "reference": [like("sparse_topkk")]}, "mine.toml")
    assert caught.value.code == "names-do-not-match"


def test_a_reference_of_a_row_that_cannot_be_used_cannot_be_planned():
    plan = a_plan(reference=[like("mine_8")], space={}, ranked=[{"name": "mine_8", "variant": "oracle_router"}])
    assert "only be a reference row" in plan.row("mine_8").problem
    assert group_of(plan, "frozen").problem == "it is like 'mine_8', which cannot be used."


def test_a_variant_may_have_several_rows_each_with_its_space():
    ranked = [{"name": f"sparse_topk_{e}", "variant": "sparse_topk"} for e in (8, 16)]
    space = {
        "sparse_topk": {"top_k": [4], "experts": [32]},
        "sparse_topk_8": {"experts": [8]},
        "sparse_topk_16": {"experts": [16], "top_k": [2]},
    }
    plan = a_plan(ranked=ranked, space=space, reference=[like("sparse_topk_16")])
    assert [row.name for row in plan.rows if not row.reference][-2:] == ["sparse_topk_8", "sparse_topk_16"]
    found = {row.name: {(t["experts"], t["top_k"]) for t in group_of(plan, row.name).trials} for row in plan.rows[2:]}
    assert found == {
        "sparse_topk": {(32, 4)},
        "sparse_topk_8": {(8, 4)},
        "sparse_topk_16": {(16, 2)},
        "frozen": {(16, 2)},
    }
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("name", find_suites())
def test_the_references_of_every_suite_that_comes_along_have_the_experts_of_their_row(name):
    """Those that have experts at all, but for an oracle, and null rows of suites of fixed settings."""
    for suite in load_experiment(name).suites:
        for reference in suite.reference:
            assert reference.like or reference.variant in ("dense", "oracle_router"), reference.name


def test_every_row_of_the_active_axis_meets_its_budget(cifar10_dir):
    suite = load_suite("standard-active")
    suite = suite.model_copy(update={"task": [entry for entry in suite.task if entry.name == "cifar10"]})
    plan = make_plan(request_for(suite, data=cifar10_dir))
    assert [group.row for group in plan.groups if group.problem] == []


def test_the_suite_of_the_active_axis_has_three_sparsities_of_every_layer():
    suite = load_suite("standard-active")
    assert suite.axis == "active"
    assert suite.task_names == load_suite("standard").task_names
    for variant in {each.variant for each in suite.named}:
        rows = [each.name for each in suite.named if each.variant == variant]
        assert [row.removeprefix(variant) for row in rows] == ["_4", "_8", "_16"]
    for row in ("sparse_topk", "topk_qb", "expert_choice"):
        assert [suite.space[f"{row}_{ratio}"]["experts"] for ratio in (4, 8, 16)] == [[8], [16], [32]]


ACTIVE = """
[[ranked]]
name = "sparse_topk_4"
variant = "sparse_topk"

[[ranked]]
name = "sparse_topk_8"
variant = "sparse_topk"

[[reference]]
name = "random_detached_8"
variant = "random_detached"
note = "the null of sparse_topk_8"
like = "sparse_topk_8"

[space.sparse_topk_4]
experts = [8]

[space.sparse_topk_8]
experts = [16]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of a suite on the active axis that has run: suite, and results in ``r``."""
    folder = tmp_path_factory.mktemp("active")
    text = SUITE.format(steps=12, task="digits", patch=4).replace('axis = "total"', 'axis = "active"')
    text = text.replace('variants = ["dense", "soft_moe"]', 'variants = ["dense"]').partition("[space.soft_moe]")[0]
    (folder / "tiny-active.toml").write_text(text + ACTIVE)
    assert run_tiny(str(folder / "tiny-active.toml"), folder / "r").unfinished == ()
    return folder


def test_a_suite_on_the_active_axis_runs_to_a_board(ran):
    board = load_board(str(ran / "tiny-active.toml"), results=ran / "r")
    entries = {entry.variant: entry for entry in board.entries}
    assert set(entries) == {"dense", "sparse_topk_4", "sparse_topk_8", "random_detached_8"}
    assert {name for name, entry in entries.items() if entry.rank} == {"dense", "sparse_topk_4", "sparse_topk_8"}
    assert entries["sparse_topk_8"].implementation == "sparse_topk"
    counts = {name: entry.counts for name, entry in entries.items()}
    assert all(abs(each.active_params / 20_000 - 1) <= 0.01 for each in counts.values())
    assert counts["dense"].total_params < counts["sparse_topk_4"].total_params < counts["sparse_topk_8"].total_params
    assert counts["sparse_topk_8"].total_params == counts["random_detached_8"].total_params
    settings = {name: entry.tasks[0].tuning.settings for name, entry in entries.items()}
    for name in ("experts", "top_k"):
        assert settings["sparse_topk_8"][name] == settings["random_detached_8"][name]


def test_its_board_can_be_published_and_is_what_is_planned_again(ran, tmp_path):
    publish(open_results(ran / "r", "tiny-active"), tmp_path / "p")
    (directory,) = (tmp_path / "p" / "tiny-active").iterdir()
    assert findings(directory) == {}


def test_a_reference_leaves_with_the_row_that_it_is_like(ran, tmp_path):
    results = Path(shutil.copytree(ran / "r", tmp_path / "r"))
    (group,) = open_results(results).plan.groups_of("sparse_topk_8")
    Store(results).record_path(group.trial_cells[0].identity).unlink()
    with pytest.raises(ResultsError) as caught:
        publish(open_results(results), tmp_path / "p")
    assert caught.value.code == "latency-not-measured"
    assert set(_left_out(open_results(results).plan, open_results(results).lookup)) == {
        "sparse_topk_8",
        "random_detached_8",
    }
