"""Plans: the same effort, draws and seeds for every variant, and nothing planned that cannot meet the budget."""

import json

import pytest

from layers import Like, Repeated, with_buffer
from moebench.budgets import TOLERANCE, Budget, solve
from moebench.contract import wrap
from moebench.errors import DeviceError, SuiteError, UnknownNameError
from moebench.hosts import host_settings, layer_shapes
from moebench.plans.make import make_plan
from moebench.plans.plan import Plan
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.protocol import PROTOCOL, changed_in, label, protocol_of
from moebench.suites import load_suite
from moebench.suites.request import ask
from moebench.tasks import get_task
from moebench.training.seeds import derive_seed
from moevariants.dense import Dense
from moevariants.sparse_topk import SparseTopK
from packages import VARIANT, Site, variant
from plans import ALONE, BUDGET, a_plan, a_request, a_suite, group_of

SHAPES = layer_shapes(host_settings(a_suite().host), get_task("digits").info)


@pytest.fixture(scope="module")
def plan():
    return a_plan()


def test_the_same_request_gives_the_same_plan(plan):
    assert a_plan() == plan


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_plan_survives_its_file(sampler):
    plan = a_plan(tuning={"sampler": sampler}, objects={"mine": wrap(lambda dim, hidden: None, name="mine")})
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert [c.identity for g in again.groups for c in g.trial_cells] == [
        c.identity for g in plan.groups for c in g.trial_cells
    ]


def test_every_row_has_the_same_number_of_trials_and_finals(plan):
    assert [group.row for group in plan.groups] == ["dense", "soft_moe", "sparse_topk", "dense_active", "random_router"]
    assert {len(group.trials) for group in plan.groups} == {4}
    assert {len(group.final_seeds) for group in plan.groups} == {2}
    assert plan.expected_runs() == 5 * (4 + 2)


def test_learning_rate_and_weight_decay_of_a_trial_are_the_same_for_all(plan):
    drawn = [[(t["lr"], t["weight_decay"]) for t in group.trials] for group in plan.groups]
    assert all(each == drawn[0] for each in drawn)
    assert len(set(drawn[0])) == 4
    assert all(1e-3 <= lr <= 1e-1 and 1e-3 <= decay <= 0.3 for lr, decay in drawn[0])


def test_trial_0_is_the_default(plan):
    for row in ("dense", "soft_moe", "sparse_topk", "random_router"):
        variant = load_variant(find_variant(row))
        own = variant.space(SHAPES[0]).defaults()
        assert group_of(plan, row).trials[0] == {**own, "lr": 1e-2, "weight_decay": 0.05}


def test_trials_try_more_than_the_default(plan):
    trials = group_of(plan, "sparse_topk").trials
    assert {trial["experts"] for trial in trials} == {8, 16}
    assert len({trial["loss/balance"] for trial in trials}) == 4


def test_another_task_draws_other_settings_and_seeds():
    assert derive_seed("digits", "trial", 0) != derive_seed("mnist", "trial", 0)
    assert derive_seed("digits", "shared", 0) != derive_seed("mnist", "shared", 0)


def test_seeds_vary_within_a_variant_and_agree_between_variants(plan):
    first, *others = plan.groups
    seeds = (*first.trial_seeds, *first.final_seeds)
    assert len(set(seeds)) == len(seeds) == 6
    assert all((*group.trial_seeds, *group.final_seeds) == seeds for group in others)
    assert first.trial_seeds[0] == derive_seed("digits", "trial", 0)
    assert first.final_seeds[1] == derive_seed("digits", "final", 1)


def test_more_seeds_keep_the_first_ones(plan):
    more = a_plan(seeds=5, **ALONE)
    assert more.groups[0].final_seeds[:2] == plan.groups[0].final_seeds
    assert more.groups[0].trials == plan.groups[0].trials


def test_a_cell_carries_all_that_determines_it(plan):
    cell = group_of(plan, "sparse_topk").trial_cells[1]
    task = get_task("digits")
    assert (cell.kind, cell.protocol, cell.task, cell.variant) == ("trial", PROTOCOL, "digits", "sparse_topk")
    assert (cell.data_digest, cell.split) == (task.digest(None), task.split)
    assert (cell.axis, cell.budget, cell.steps, cell.batch, cell.micro_batch) == ("total", BUDGET, 10, 8, None)
    assert (cell.precision, cell.threads) == ("fp32", 1)
    assert cell.host == host_settings(a_suite().host).model_dump(mode="json")
    assert cell.code_digest == plan.row("sparse_topk").code_digest
    identities = [c.identity for group in plan.groups for c in group.trial_cells]
    assert len(set(identities)) == len(identities)


def test_a_ladder_is_met_at_every_budget():
    ladder = [30_000, 120_000, 480_000]
    plan = a_plan(budgets=ladder, reference=[], space={"soft_moe": {"experts": [8]}})
    for row in ("dense", "soft_moe", "sparse_topk"):
        variant = load_variant(find_variant(row))
        assert [group.budget for group in plan.groups_of(row)] == ladder
        for group in plan.groups_of(row):
            for trial in group.trials:
                own = {name: value for name, value in trial.items() if name not in ("lr", "weight_decay")}
                reached = solve(variant, Budget("total", group.amount, SHAPES), own).amount
                assert abs(reached - group.budget) <= TOLERANCE * group.budget
            assert {cell.budget for cell in group.trial_cells} == {group.budget}


def test_an_option_that_cannot_meet_the_budget_is_never_a_trial():
    """64 experts grow by 2,112 parameters a step: 50,000 lies between two steps, more than 1 % from either."""
    suite = a_suite(space={"soft_moe": {"experts": [64, 8, 16]}, "sparse_topk": {"experts": [64, 16]}})
    plan = a_plan(suite=suite, budgets=[BUDGET])
    assert group_of(plan, "soft_moe").space["experts"] == {"options": [8, 16], "default": 8}
    assert group_of(plan, "sparse_topk").space["experts"] == {"options": [16], "default": 16}
    assert {len(group.trials) for group in plan.groups} == {4}
    assert 64 not in {trial.get("experts") for group in plan.groups for trial in group.trials}


def test_an_option_that_breaks_a_rule_is_never_a_trial():
    """32 slots an expert make the experts work on 256 rows where the input has 4 tokens."""
    plan = a_plan(variants=["soft_moe"], reference=[], space={"soft_moe": {"experts": [8], "slots": [32, 1]}})
    assert group_of(plan, "soft_moe").space["slots"] == {"options": [1], "default": 1}
    assert group_of(plan, "soft_moe").problem == ""


class Joint(Dense):
    """Each of its switches is free alone; both together hide weights in a buffer."""

    name = "joint"

    tune = {"a": (False, True), "b": (False, True)}

    def build(self, shape, size, *, a=False, b=False):
        return (with_buffer(5_000) if a and b else Dense()).build(shape, size)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_combination_that_cannot_meet_the_budget_is_drawn_again(sampler):
    plan = a_plan(objects={"joint": Joint()}, **ALONE, tuning={"sampler": sampler, "trials": 12, "generation": 12})
    group = group_of(plan, "joint")
    assert len(group.trials) == 12
    combinations = {(trial["a"], trial["b"]) for trial in group.trials}
    assert combinations == {(False, False), (False, True), (True, False)}
    assert group.unfit == (({"a": True, "b": True},) if sampler == "tpe" else ())


def test_a_budget_that_a_variant_cannot_meet_is_the_problem_of_its_group_alone():
    plan = a_plan(budgets=[3_000], space={})
    problems = {group.row: group.problem for group in plan.groups}
    assert problems["dense"] == ""
    assert problems["soft_moe"].startswith("soft_moe cannot meet 3,000 total parameters in 2 layers with experts=8")
    assert problems["dense_active"].startswith("it needs the active parameters of 'sparse_topk': sparse_topk cannot")
    assert {row.problem for row in plan.rows} == {""}
    assert [group.row for group in plan.selected_groups()] == ["dense"]
    assert not any(group.broken for group in plan.groups)


def test_a_layer_that_breaks_a_rule_whatever_its_settings_is_told_so():
    twice = Like(lambda layer, shape, size: Repeated(layer, 2))
    group = group_of(a_plan(objects={"mine": twice}, **ALONE), "mine")
    assert group.problem.startswith("mine: its layers need ")
    assert group.trials == group.trial_cells == ()


@pytest.mark.parametrize("method", ["space", "build"])
def test_a_plug_in_that_raises_while_it_is_planned_is_a_row_with_its_reason(tmp_path, method):
    path = tmp_path / "mine.py"
    header = {"space": "def space(self, shape):", "build": "def build(self, shape, size):"}[method]
    path.write_text(
        f"{VARIANT.replace(header, 'def unused(self, shape, size):')}\n    {header}\n        raise OSError('no card')\n"
    )
    plan = a_plan([f"{path}:Mine"], **ALONE)
    group = group_of(plan, "mine")
    assert group.problem.startswith(f"mine: Mine.{method}() raised OSError: no card at mine.py, line ")
    assert [frame["name"] for frame in group.frames if frame["own"]] == [f"Mine.{method}"]
    assert group.broken
    assert group_of(plan, "dense").problem == ""


def test_a_plug_in_that_raises_on_import_is_a_row_with_its_reason(tmp_path, plan):
    path = tmp_path / "mine.py"
    path.write_text("import nothing_of_this_name\n" + variant(name='"other"'))
    more = a_plan([f"{path}:Mine"])
    row = more.row("other")
    assert row.selected
    assert "it fails to import (ModuleNotFoundError: No module named 'nothing_of_this_name')" in row.problem
    assert more.groups_of("other") == ()
    assert more.groups == plan.groups


def test_an_installed_plug_in_takes_part_by_its_name(tmp_path, monkeypatch, plan):
    site = Site(tmp_path / "site", monkeypatch)
    site.write("part_package/variant.py", VARIANT)
    site.install("part", {"mine": "part_package.variant:Mine"})
    more = a_plan(["mine"], **ALONE)
    assert group_of(more, "mine").problem == ""
    assert [t["lr"] for t in group_of(more, "mine").trials] == [t["lr"] for t in plan.groups[0].trials]
    assert {row.name for row in more.rows if row.selected} == {"dense", "mine"}


def test_an_object_is_a_row_of_its_own():
    plan = a_plan(objects={"mine": Like(lambda *_: None)}, **ALONE)
    row = plan.row("mine")
    assert (row.spec, row.selected, len(row.code_digest)) == ("object", True, 20)
    assert group_of(plan, "mine").trial_cells[0].code_digest == row.code_digest
    dense = group_of(plan, "dense")
    assert [t["lr"] for t in group_of(plan, "mine").trials] == [t["lr"] for t in dense.trials]


class Empty(Dense):
    """An object that counts as false."""

    name = "empty"

    def __len__(self):
        return 0


def test_an_object_that_counts_as_false_is_an_object_all_the_same():
    assert group_of(a_plan(objects={"empty": Empty()}, **ALONE), "empty").problem == ""


@pytest.mark.parametrize("axis", ["total", "active", "flops"])
def test_dense_active_has_the_active_parameters_of_the_default(axis):
    amount = {"total": BUDGET, "active": 20_000, "flops": 400_000}[axis]
    plan = a_plan(axis=axis, budgets=[amount], variants=["dense", "sparse_topk"], space={})
    settings = {name: group_of(plan, "sparse_topk").trials[0][name] for name in ("experts", "top_k")}
    active = solve(SparseTopK(), Budget(axis, amount, SHAPES), settings).counts.active
    group = group_of(plan, "dense_active")
    assert (group.problem, group.amount, group.budget) == ("", active, amount)
    cell = group.trial_cells[0]
    assert (cell.budget, cell.axis) == (active, "total" if axis == "flops" else axis)
    assert abs(solve(Dense(), Budget(cell.axis, cell.budget, SHAPES), {}).counts.total - active) <= 0.01 * active


def test_soft_moe_has_no_place_on_the_active_axis():
    plan = a_plan(axis="active", budgets=[20_000])
    assert group_of(plan, "soft_moe").problem.startswith("soft_moe: all its parameters are active")
    assert group_of(plan, "sparse_topk").problem == group_of(plan, "dense").problem == ""


def test_quick_gives_dense_active_the_active_parameters_of_sparse_topk():
    """Two layers of E = 16, K = 2, H from 264,320: the router and two experts of each."""
    plan = make_plan(a_request(suite=load_suite("quick")))
    assert not any(group.problem for group in plan.groups)
    assert {len(group.trials) for group in plan.groups} == {plan.suite.tuning.trials}
    shapes = layer_shapes(host_settings(plan.suite.host), get_task("digits").info)
    sizes = solve(SparseTopK(), Budget("total", plan.suite.budgets[0], shapes), {"experts": 16}).sizes
    assert group_of(plan, "dense_active").amount == sum(64 * 16 + 2 * (129 * hidden + 64) for hidden in sizes)


def test_a_misspelt_setting_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        a_plan(space={"soft_moe": {"expert": [8]}})
    assert str(caught.value) == "unknown setting 'expert' in space.soft_moe of suite 'mine'; did you mean 'experts'?"


def test_a_setting_of_the_wrong_type_is_the_variants_to_refuse():
    plan = a_plan(reference=[], space={"soft_moe": {"experts": ["eight"]}, "sparse_topk": {"renormalise": [1]}})
    assert "experts must be a whole number of at least 1, not 'eight'" in group_of(plan, "soft_moe").problem
    assert "renormalise must be true or false, not 1" in group_of(plan, "sparse_topk").problem


def test_the_space_of_a_variant_from_a_file_goes_by_the_name_it_gives_itself(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        VARIANT.replace("size):", "size, *, a=1):").replace("causal =", "tune = {'a': (1, 2, 3)}\n    causal =")
    )
    rows = {"variants": ["dense", f"{path}:Mine"], "reference": []}
    group = group_of(a_plan(suite=a_suite(**rows, space={"mine": {"a": [3, 2]}})), "mine")
    assert group.space["a"] == {"options": [3, 2], "default": 3}
    with pytest.raises(UnknownNameError, match=r"unknown variant 'mien' in \[space\] of suite 'mine'; did you mean"):
        a_plan(suite=a_suite(**rows, space={"mien": {"a": [3, 2]}}))


def test_tasks_whose_scores_point_in_opposite_directions_are_not_averaged():
    with pytest.raises(SuiteError, match="more is better on digits and worse on norm"):
        a_plan(task=[{"name": "digits"}, {"name": "norm"}])


def test_a_host_that_does_not_fit_the_images_is_a_sentence():
    with pytest.raises(SuiteError, match=r"^suite 'mine': patch 3 does not divide the 8 x 8 images of task"):
        a_plan(host={"name": "vit", "patch": 3})


def test_a_backend_or_a_device_that_is_not_there_is_known_before_anything_runs():
    with pytest.raises(UnknownNameError, match=r"unknown backend 'lop'; did you mean 'loop'\?"):
        a_plan(backend="lop")
    with pytest.raises(DeviceError):
        a_plan(device="cuda:99")


def test_a_label_says_what_was_changed_and_is_read_back():
    request = ask("quick", seeds=2, trials=3, micro_batch=16).requests[0]
    told = request.protocol
    assert told == f"{PROTOCOL} (seeds=2, trials=3, micro_batch=16)"
    assert protocol_of(told) == PROTOCOL
    assert label(PROTOCOL, changed_in(told)) == told
    suite = request.suite
    same = ask("quick", seeds=load_suite("quick").seeds).requests[0].protocol
    assert (same, changed_in(same)) == (PROTOCOL, {}), "what is as the suite has it was not changed"
    assert changed_in(told) == {"seeds": suite.seeds, "trials": suite.tuning.trials, "micro_batch": 16}


def test_a_micro_batch_is_part_of_the_cell_and_of_the_protocol(plan):
    small = a_plan(micro_batch=4, **ALONE)
    assert (small.protocol, plan.protocol) == (f"{PROTOCOL} (micro_batch=4)", PROTOCOL)
    assert group_of(small, "dense").trial_cells[0].micro_batch == 4
    assert group_of(small, "dense").trial_cells[0].identity != group_of(plan, "dense").trial_cells[0].identity


def test_a_build_that_gives_no_layer_is_named(tmp_path):
    class Forgetful(Dense):
        name = "mine"

        def build(self, shape, size):
            super().build(shape, size)

    plan = a_plan(["mine"], objects={"mine": Forgetful()})
    assert group_of(plan, "mine").problem == "mine: build() gave None, not a moebench.contract.Layer"
    assert plan.unusable() == {plan.row("mine").spec}
