"""Rows of fixed settings: what a file may say, the cells of a plan, and a run from end to end."""

import dataclasses
import re

import pytest
import torch
from click.testing import CliRunner

from fixed_rows import SINGLE, VALUES, finals, measured, plan_of, run, values, works, write
from moebench.cli.main import cli
from moebench.errors import MoebenchError, SuiteError, UnknownNameError, UsageError
from moebench.machine import versions
from moebench.records import Store
from moebench.suites import Suite, load_experiment, load_suite
from moebench.suites.load import check_hosts
from moebench.suites.request import ask
from moebench.training.device import DeviceInfo


def row(**changes):
    return VALUES["row"][0] | changes


def alone(*rows):
    """The tiny suite with these rows and nothing measured."""
    return values(row=list(rows), measure=[])


def refused(tmp_path, given):
    path = str(write(tmp_path / "mine.toml", given))
    with pytest.raises(SuiteError) as caught:
        check_hosts(load_experiment(path).suites[0], path)
    return str(caught.value).removeprefix(f"suite '{tmp_path}/mine.toml': ")


def test_a_file_is_read_as_what_it_is(tmp_path):
    path = str(write(tmp_path / "tiny.toml", VALUES))
    assert load_experiment(path).suites == (Suite.model_validate(VALUES),)
    assert load_experiment("quick").suites == (load_suite("quick"),)
    assert load_experiment("paper").suites[0].name == load_experiment("paper").named[0] == "paper-norm"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (values(sedes=3), "unknown key 'sedes'; did you mean 'seeds'?"),
        (values(arm=[row()]), "unknown key 'arm'; did you mean 'row'?"),
        (alone(row(budget=None)), "row 'digits' needs one of budget, width and expert_width"),
        (alone(row(width=5)), "needs one of budget, width and expert_width"),
        (alone(row(budget=None, width=5, axis="active")), "row 'digits' has the axis 'active', which needs a budget"),
        (alone(row(), row()), "row 'digits' is named twice"),
        (alone(row(task="digit")), "unknown task 'digit'; did you mean 'digits'?"),
        (alone(row(task=None)), "the key 'task' is missing."),
        (alone(row(host={"name": "singel_layer"})), "did you mean 'single_layer'?"),
        (alone(row(host={"name": "single_layer", "gird": 2})), "unknown key 'row.0.host.gird'"),
        (alone(row(training={"steps": 0})), "row.0.training.steps"),
        (values(training={"steps": 1, "batch": 1, "lr": 1e-3}), "'training.optimiser' is missing, which row 'digits'"),
        (values(measure=[{"name": "x", "kind": "subset", "rows": ["digit"]}]), "'digit', which is not there; did you"),
        (values(latency={"batch": 1}), "[latency] is of rows that are tuned, and there is no [tuning]."),
        (values(variants=["dense"]), "the key 'budgets' is missing."),
        (values(variants=["dense"], budgets=[5], task=[{"name": "digits"}], host=SINGLE), "'tuning' is missing."),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, given, said):
    given = {name: each for name, each in given.items() if each is not None}
    for key in {"arm", "row"} & given.keys():
        given[key] = [{name: each for name, each in one.items() if each is not None} for one in given[key]]
    message = refused(tmp_path, given)
    assert said in message
    assert "\n" not in message


def test_a_suite_that_ranks_and_one_that_does_not_are_told_apart(tmp_path):
    with pytest.raises(SuiteError, match=r"sweeps fixed settings and ranks nothing.*moebench report paper-norm"):
        load_suite("paper-norm")
    series = tmp_path / "series.toml"
    series.write_text('title = "two"\nparts = ["paper-norm", "quick"]\n')
    with pytest.raises(SuiteError, match=r"'series' has parts; those with a board are: quick\."):
        load_suite(str(series))
    series.write_text('title = "two"\nparts = ["paper"]\n')
    with pytest.raises(SuiteError, match="its part 'paper' has parts itself"):
        load_experiment(str(series))


@pytest.mark.parametrize(
    ("asked", "option"),
    [({"variants": ("dense",)}, "--variant"), ({"trials": 2}, "--trials"), ({"micro_batch": 2}, "--mic")],
)
def test_what_only_a_ranking_suite_can_be_asked(asked, option):
    with pytest.raises(UsageError, match=rf"'paper' sweeps fixed settings and tunes nothing; leave {option}"):
        ask("paper", **asked)


def test_every_combination_has_its_cell_and_its_measures():
    small, large = plan_of(VALUES), plan_of(VALUES, full=True)
    assert [work.row for work in finals(small)] == ["digits experts=4", "norm experts=1", "norm experts=2"]
    assert len(finals(large)) == 2 * 4
    assert {work.cell.settings["experts"] for work in finals(large) if work.cell.task == "digits"} == {4, 8}
    assert [work.label for work in measured(small, alone=True)] == ["digits experts=4 seed 0 cost"]
    assert len(measured(large, alone=True)) == 2, "measured on the first seed alone"
    by_row = {work.row: work for work in measured(small)}
    trained = {work.row: work.cell for work in finals(small)}
    assert by_row["norm experts=2"].cell.session == {
        "measure": "gaps",
        "of": trained["norm experts=2"].identity,
        "takes": {},
    }
    assert by_row["untrained experts=2"].cell.session["of"] == ""
    assert by_row["untrained experts=2"].cell.steps == 0


def test_a_time_belongs_to_the_machine_that_it_was_measured_on():
    here = plan_of(VALUES)
    (time,) = measured(here, alone=True)
    assert time.cell.session["device"] == here.device["name"]
    assert time.cell.session["versions"]["torch"] == torch.__version__.partition("+")[0]
    there = plan_of(VALUES, place=DeviceInfo("cpu", "another machine", "cpu", versions()))
    assert measured(there, alone=True)[0].cell.identity != time.cell.identity
    assert [work.cell.identity for work in measured(there)] == [work.cell.identity for work in measured(here)]
    assert measured(plan_of(VALUES, backend="loop"), alone=True)[0].cell.identity != time.cell.identity


@pytest.mark.parametrize(
    ("takes", "said"),
    [({"inputs": 50}, "missing a required argument: 'most_experts'"), ({"input": 5}, "suite 'tiny', measure 'oracle'")],
)
def test_what_a_measure_does_not_take_is_said_before_anything_runs(takes, said):
    with pytest.raises(SuiteError) as caught:
        plan_of(values(measure=[{"name": "oracle", "kind": "oracle", "takes": takes}], row=[row()]))
    assert said in str(caught.value)


def test_a_measure_that_there_is_not_is_said_when_planned():
    with pytest.raises(UnknownNameError, match=r"unknown measure 'subste'; did you mean 'subset'\?"):
        plan_of(values(measure=[{"name": "x", "kind": "subste"}]))


def test_the_full_form_goes_on_from_the_reduced_one():
    small, large = ({work.cell.identity for work in works(plan_of(VALUES, full=full))} for full in (False, True))
    assert small < large


def test_seeds_and_initial_weights_are_the_same_for_every_row():
    plan = plan_of(alone(row(), row(name="other", variant="dense", settings={}, vary={}, vary_full={})), seeds=3)
    seeds = {name: [w.cell.seed for w in finals(plan) if w.row.startswith(name)] for name in ("digits", "other")}
    assert len(set(seeds["digits"])) == 3
    assert seeds["digits"] == seeds["other"]


def test_a_cell_says_how_it_is_trained():
    given = alone(row(training={"steps": 7, "optimiser": "adamw_cosine", "lr": 0.5}))
    cell = finals(plan_of(given))[0].cell
    assert (cell.steps, cell.optimiser, cell.settings["lr"], cell.batch) == (7, "adamw_cosine", 0.5, 32)
    default = finals(plan_of(VALUES))[0].cell
    assert default.optimiser == "adam"
    assert dataclasses.replace(default, optimiser="adamw_cosine").identity != default.identity


def test_equal_widths_are_equal_expert_parameters():
    plan = plan_of(VALUES)
    # 20 D^2 expert weights at D = 2, and a column of the router for each expert.
    assert {w.cell.settings["experts"]: w.cell.budget for w in finals(plan) if w.cell.task == "norm"} == {1: 82, 2: 84}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vary": {"experts": [3]}, "budget": None, "width": 20}, "3 experts cannot share a width of 20 evenly"),
        ({"vary": {"experts": [0]}, "budget": None, "width": 20}, "experts must be a number of at least 1, not 0"),
        ({"budget": 10}, "row 'digits': soft_moe cannot meet 10 total parameters"),
        ({"settings": {"slotz": 1}}, "slotz"),
        ({"host": SINGLE | {"grid": 3}}, "grid 3 does not divide the 8 x 8 images of task 'digits'"),
        (
            {"task": "cifar10", "host": {"name": "token_sum", "tokens": 5}},
            "the host 'token_sum' reads features; task 'cifar10' gives images.",
        ),
    ],
)
def test_a_row_that_cannot_be_built_says_why(changes, said):
    with pytest.raises(SuiteError, match=r"^suite 'tiny'") as caught:
        plan_of(alone(row(**changes)))
    assert said in str(caught.value)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return run(write(folder / "tiny.toml", VALUES), folder / "results"), folder


def records(session, folder):
    store = Store(folder / "results")
    return {work.label: store.get(work.cell.identity) for plan in session.plans for work in works(plan)}


def test_a_run_trains_and_measures_everything(ran):
    session, folder = ran
    found = records(session, folder)
    assert session.unfinished == ()
    assert {record.status for record in found.values()} == {"done"}
    subset = found["digits experts=4 seed 0 subset"].scores
    final = found["digits experts=4 seed 0"].scores
    assert subset["all"] == final["test_accuracy"]
    assert subset["none"] == final["accuracy_no_experts"]
    assert subset["combine_sum k=2"] > subset["worst k=2"]
    oracle = found["digits experts=4 seed 0 oracle"].scores
    assert oracle["oracle"] >= oracle["selected"]
    cost = found["digits experts=4 seed 0 cost"].scores
    assert cost["k=1 layers_flops"] < 0.5 * cost["k=4 layers_flops"]
    assert cost["k=1 layers_bound_ms batch=1"] < cost["k=4 layers_bound_ms batch=1"]
    ratio = [cost[f"k=1 layers_speedup{end} batch=4"] for end in ("_low", "", "_high")]
    assert ratio == sorted(ratio)
    assert cost["k=4 layers_ms_low batch=4"] <= cost["k=4 layers_ms batch=4"] <= cost["k=4 layers_ms_high batch=4"]


def test_the_norm_is_scored_as_a_number(ran):
    found = records(*ran)
    final = found["norm experts=2 seed 0"]
    assert final.scores["test_constant_mse"] == pytest.approx(12.17, abs=0.15)
    assert final.scores["test_mse"] == pytest.approx(final.scores["validation_mse"], rel=0.05)
    assert "test_accuracy" not in final.scores


def test_inputs_that_a_layer_cannot_tell_apart(ran):
    session, folder = ran
    found = records(session, folder)
    trained, residual = found["norm experts=2 seed 0 gaps"], found["untrained experts=2 seed 0 gaps"]
    assert trained.scores["beyond_limit_at_largest"] == 1
    assert trained.scores["output_gap_at_largest"] < 1e-3
    assert trained.scores["vectors_beyond_limit_at_largest"] == 1
    assert residual.scores["beyond_limit_at_largest"] == 0
    assert residual.scores["vectors_beyond_limit_at_largest"] == 0
    assert residual.reasons["beyond_limit_from_scale"]
    arrays = Store(folder / "results").arrays(trained.identity)
    assert len(arrays["scale_N"]) == len(arrays["norm_gap_N"]) == 51


def test_a_measure_without_its_run_is_named(ran, tmp_path):
    """A run that diverges leaves nothing to measure: exit status 1 and a line each."""
    given = values(row=[row(training={"lr": 1e30})], measure=[{"name": "subset", "kind": "subset"}])
    session = run(write(tmp_path / "tiny.toml", given), tmp_path / "results")
    why = "the run that it is derived from is not done."
    assert session.unfinished == (("digits experts=4 seed 0 subset", "skipped", why),)


def test_weights_that_were_lost_are_asked_for(ran, tmp_path):
    session, folder = ran
    (plan,) = session.plans
    final = next(work for work in finals(plan) if work.row == "norm experts=1")
    derived = next(work for work in measured(plan) if work.of == final.cell.identity)
    store = Store(folder / "results")
    store.record_path(derived.cell.identity).unlink()
    weights = store.weights_path(final.cell.identity)
    weights.rename(tmp_path / "weights")
    try:
        unfinished = run(folder / "tiny.toml", folder / "results").unfinished
    finally:
        (tmp_path / "weights").rename(weights)
    assert [(label, status) for label, status, _ in unfinished] == [(derived.label, "error")]
    assert f"the weights of run {final.cell.identity} were not kept" in unfinished[0][2]


def test_what_is_not_ranked_may_cost_more_than_dense_layers(tmp_path):
    many = {"name": "many", "host": {"name": "token_sum", "tokens": 2}, "settings": {"slots": 2}}
    trained = VALUES["row"][1] | many | {"vary": {"experts": [64]}, "width": 64}
    given = values(
        row=[trained, trained | {"name": "untrained", "trained": False}], measure=[{"name": "gaps", "kind": "gaps"}]
    )
    session = run(write(tmp_path / "many.toml", given), tmp_path / "results")
    assert not session.unfinished
    record = records(session, tmp_path)["many experts=64 seed 0"]
    assert record.counts["flops_per_input"] > 1.1 * record.counts["dense_flops_per_input"]


def test_inputs_of_equal_sums_may_still_be_told_apart(tmp_path):
    untrained = VALUES["row"][2] | {"settings": {"normalise": True}}
    given = values(row=[untrained], measure=[{"name": "gaps", "kind": "gaps"}])
    session = run(write(tmp_path / "sums.toml", given), tmp_path / "results")
    (record,) = records(session, tmp_path).values()
    # With a residual around a normalising router the pair has one sum x + y, and is far apart as vectors.
    assert record.scores["beyond_limit_at_largest"] == 1
    assert record.scores["vectors_beyond_limit_at_largest"] == 0


def command(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_the_commands_find_what_ran(ran):
    _, folder = ran
    path, results = folder / "tiny.toml", folder / "results"
    assert run(path, results).unfinished == (), "a measure without its run's weights is made once they are there"
    before = {path: path.stat().st_mtime_ns for path in (results / "records").rglob("*.json")}
    again = command("run", path, "--results", results, "--no-mlflow")
    assert again.exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in (results / "records").rglob("*.json")}
    assert re.search(r"norm experts=2 +1 +mse \d+\.\d{3} ±\? +84", again.output)
    assert "report" not in again.output, "it has no study"
    plan = command("plan", path, "--results", results)
    assert re.search(r"digits experts=4 +1/1 +3/3", plan.output)
    assert re.search(r"untrained experts=2 +- +1/1", plan.output)
    assert "9 cached, 0 to run\n" in plan.output
    more = command("plan", path, "--results", results, "--full").output
    assert re.search(r"cached, \d+ to run, about \d+ (s|min) \(a rough guess\)\n", more)
    fresh = command("plan", path, "--results", folder / "empty").output
    assert re.search(r"0 cached, 9 to run, about \d+ s \(a rough guess\), without \d+ measures", fresh)


def test_a_data_set_that_is_missing_is_one_sentence(tmp_path):
    (tmp_path / "data").mkdir()
    result = command("run", "paper-specialization", "--data", tmp_path / "data", "--results", tmp_path / "results")
    assert isinstance(result.exception, MoebenchError)
    assert "Fashion-MNIST" in str(result.exception)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "quick", "--full"), "suite 'quick' has one form only; leave --full out."),
        (("run", "paper-norm", "--variant", "dense"), "leave --variant out"),
        (("run", "paper-norm", "--no-weights"), "measures the trained models; leave --no-weights out"),
        (("leaderboard", "paper-norm"), "ranks nothing: it has no leaderboard"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(tmp_path, words, said):
    result = command(*words, "--results", tmp_path)
    assert isinstance(result.exception, MoebenchError)
    assert said in str(result.exception)
    assert not list(tmp_path.rglob("*.json"))
