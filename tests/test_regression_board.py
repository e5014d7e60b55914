"""A ranked suite on a task whose score is better when it is lower, and suites that cannot be ranked."""

import pytest
import torch

from moebench.board.build import build_board
from moebench.errors import SuiteError
from moebench.hosts import host_settings
from moebench.hosts.build import build_model
from moebench.measures.subset.report import compare
from moebench.plans.generations import _value
from moebench.plans.make import make_plan
from moebench.plans.plan import _merit
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.records import Record, Records, Store
from moebench.runner.progress import outcome_words
from moebench.suites.request import ask
from moebench.tasks import get_task
from moebench.tasks.norm import VARIANCE
from tiny import run_tiny

SUITE = """
title = "A number"
axis = "total"
budgets = [408]
seeds = 2
variants = ["dense", "soft_moe"]

[host]
name = "token_sum"
tokens = 5

[training]
steps = 30
batch = 64

[tuning]
trials = 2
lr = { low = 1e-3, high = 3e-2, default = 1e-2 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }

[latency]
batch = 8
rounds = 6
repeats = 1

[space.soft_moe]
experts = [4]
"""


def suite(folder, *tasks):
    path = folder / "number.toml"
    path.write_text(SUITE + "".join(f'\n[[task]]\nname = "{task}"\n' for task in tasks))
    return str(path)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The board of a real run, its plan and its store."""
    folder = tmp_path_factory.mktemp("number")
    path = suite(folder, "norm")
    board = run_tiny(path, folder / "results").board
    return board, make_plan(ask(path, device="cpu").requests[0]), Store(folder / "results")


def test_the_lowest_error_has_the_first_rank_and_less_than_dense_is_better(session):
    board, _, _ = session
    (rung,) = board.rungs
    errors = {entry.variant: entry.representation.value for entry in rung.entries}
    assert board.tasks[0].metric == "mse"
    assert not board.tasks[0].higher_is_better
    assert [entry.variant for entry in rung.entries] == sorted(errors, key=errors.get)
    assert 0 < errors["dense"] < errors["soft_moe"]  # one soft expert for each of few tokens learns slower
    (soft,) = (entry for entry in rung.entries if entry.variant == "soft_moe")
    assert soft.vs_dense.value == pytest.approx(errors["soft_moe"] - errors["dense"])
    assert soft.specialization_reason.text == "an input has a number, not a class"
    assert soft.latency.value > 0


def test_the_winner_has_the_smallest_validation_error(session):
    _, plan, store = session
    for group in plan.groups:
        records = [store.get(cell.identity) for cell in group.trial_cells]
        errors = [record.scores["validation_mse"] for record in records]
        assert group.winner(Records(store)) == errors.index(min(errors))
        assert outcome_words(records[0]) == f"val {errors[0]:.3f}"


def test_a_diverged_seed_counts_as_the_error_of_the_best_constant(session):
    _, plan, store = session
    (dense,) = (group for group in plan.groups if group.row == "dense")
    first = dense.final_cells(Records(store))[0].identity

    def lookup(identity):
        record = store.get(identity)
        if identity != first:
            return record
        return record.model_copy(update={"status": "diverged", "scores": {}, "reasons": {}, "reason": "not finite."})

    board = build_board(plan, lookup)
    (entry,) = (entry for entry in board.rungs[0].entries if entry.variant == "dense")
    assert entry.tasks[0].seeds[0] == VARIANCE


def record(status="done", **scores):
    return Record.model_construct(status=status, scores=scores)


def test_a_sampler_is_told_that_a_lower_error_is_better(session):
    group = session[1].groups[0]
    told = [_value(group, lambda _, error=error: record(validation_mse=error), "x") for error in (1.0, 2.0)]
    assert told == [-1.0, -2.0]
    assert _value(group, lambda _: record(status="diverged"), "x") == -VARIANCE


def test_merit_follows_the_direction_and_breaks_ties_where_the_task_has_one():
    norm, digits = (get_task(name).info.headline for name in ("norm", "digits"))
    trials = [record(validation_mse=error) for error in (3.0, 1.0, 2.0)] + [record(status="diverged")]
    assert sorted(range(4), key=lambda index: _merit(trials[index], norm)) == [1, 2, 0, 3]
    ties = [record(validation_accuracy=a, validation_loss_nats=loss) for a, loss in ((0.9, 0.2), (0.9, 0.1), (0.8, 0))]
    assert sorted(range(3), key=lambda index: _merit(ties[index], digits)) == [1, 0, 2]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (("noise",), "suite 'number': task 'noise' only times layers and has no score to rank by; take it out."),
        (("norm", "noise"), "suite 'number': task 'noise' only times layers and has no score to rank by; take it out."),
        (("norm", "digits"), "suite 'number': more is better on digits and worse on norm, and scores are means over "),
    ],
)
def test_what_cannot_be_ranked_is_refused_when_it_is_planned(tasks, said, tmp_path):
    with pytest.raises(SuiteError) as caught:
        make_plan(ask(suite(tmp_path, *tasks), device="cpu").requests[0])
    assert str(caught.value).startswith(said)


def test_a_subset_of_experts_is_judged_by_the_error_and_retains_no_share_of_it():
    norm, soft = get_task("norm"), load_variant(find_variant("soft_moe"))
    host = host_settings({"name": "token_sum", "tokens": 5})
    model = build_model(host, norm.info, soft, [5], {"experts": 4}, 0).eval()
    test = norm.load("test")[:500]
    whole, some, _ = compare(model, norm, test, 2, batches=(1,), rounds=1, repeats=1)
    with torch.no_grad():
        error_N = model.outputs(test.inputs)["norm"].squeeze(1) - test.targets["norm"]
    assert whole.score == pytest.approx(float(error_N.square().mean()), rel=1e-5)
    assert some.score != whole.score
    assert whole.retained is some.retained is None
