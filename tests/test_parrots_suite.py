"""What the suite parrots holds equal: active parameters over experts, totals of the whole model over widths."""

from __future__ import annotations

import pytest
import torch

import papers
from fixed_rows import finals, run, values, write
from fixed_rows import plan_of as plan_of_values
from moebench.budgets import Budget, settle
from moebench.errors import SuiteError
from moebench.hosts import host_settings, layer_shapes
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.records import Store
from moebench.suites import load_experiment
from moebench.tasks import get_task
from moestudies.parrots.rows import PATHS, RECALL, WIDTHS

ROWS = {suite.name: papers.rows_of(suite) for suite in load_experiment("parrots").suites}
TRAINING = {"batch": 32, "optimiser": "adam", "lr": 3e-3}
DECODER = {"name": "decoder", "dim": 16, "depth": 1, "heads": 2}


def sizes(row, settings):
    """(total and active parameters of the expert layers, and of the host alone)."""
    host, info = host_settings(row.host), get_task(row.task).info
    variant = load_variant(find_variant(row.variant))
    shapes = layer_shapes(host, info)
    counts = settle(variant, Budget(row.axis or "total", row.budget, shapes), {**row.settings, **settings}).counts
    with torch.random.fork_rng(devices=[]):
        own = sum(parameter.numel() for parameter in host.build(info).parameters())
    return counts.total, counts.active, own


@pytest.mark.parametrize("name", [RECALL, PATHS])
def test_active_parameters_are_equal_over_experts_and_totals_grow(name):
    rows = [row for row in ROWS[name] if row.name.split(",")[0] in ("dense", "top-2")]
    assert {row.axis for row in rows} == {"active"}
    budgets = {row.budget for row in rows}
    assert len(budgets) == 1
    (amount,) = budgets
    dense, sparse = (next(row for row in rows if row.name.startswith(kind)) for kind in ("dense", "top-2"))
    assert {(row.host["dim"], row.host["depth"], row.host["heads"]) for row in rows} == {(16, 2, 2)}
    found = [sizes(dense, {})]
    found += [sizes(sparse, chosen) for chosen in sparse.combinations(full=True)]
    for total, active, own in found:
        assert active == pytest.approx(amount, rel=0.01)
        assert own == found[0][2]
        assert total >= active
    totals = [total for total, _, _ in found]
    assert totals == sorted(totals)
    assert totals[-1] > 16 * totals[0]


@pytest.mark.parametrize("name", [RECALL, PATHS])
def test_totals_of_the_whole_model_are_equal_over_widths(name):
    of_kind = {row.name.split(",")[0]: row for row in ROWS[name]}
    narrow = sizes(of_kind["top-2"], {"experts": WIDTHS[16]})
    wider = [sizes(of_kind[f"width {width}"], {}) for width in sorted(WIDTHS)[1:]]
    wholes = [total + own for total, _, own in (narrow, *wider)]
    assert wholes == pytest.approx([wholes[0]] * 3, rel=0.01)


@pytest.mark.parametrize("name", [RECALL, PATHS])
def test_arms_of_one_kind_differ_in_nothing_but_the_book(name):
    by_kind = {}
    for row in ROWS[name]:
        by_kind.setdefault(row.name.split(",")[0], []).append(row.model_copy(update={"name": "", "task": ""}))
    for rows in by_kind.values():
        assert all(row == rows[0] for row in rows)


def row(**changes):
    given = {"name": "book", "task": "phonebook_256", "host": DECODER, "variant": "sparse_topk", "budget": 4_352}
    return given | {"settings": {"experts": 4, "top_k": 2}} | changes


def plan_of(*rows):
    return plan_of_values(values(measure=[], row=list(rows), training=TRAINING | {"steps": 4}))


def test_a_budget_of_active_parameters_is_part_of_a_cell():
    (total,), (active,) = finals(plan_of(row())), finals(plan_of(row(axis="active")))
    assert (total.cell.axis, active.cell.axis) == ("total", "active")
    assert total.cell.identity != active.cell.identity


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "soft_moe", "settings": {"experts": 4}}, "soft_moe has no place in a causal host, because it"),
        ({"variant": "soft_moe", "settings": {"experts": 4}, "budget": None, "width": 8}, "no place in a causal host"),
        ({"settings": {"experts": 4, "capacity": 0.5}}, "no place in a causal host with experts=4, capacity=0.5"),
        ({"settings": {"experts": 2, "top_k": 2}, "axis": "active"}, "all its parameters are active"),
        ({"task": "digits"}, "the host 'decoder' reads token ids; task 'digits' gives images."),
        ({"host": {"name": "vit"}}, "the host 'vit' reads images; task 'phonebook_256' gives token ids."),
    ],
)
def test_what_cannot_be_is_one_sentence(changes, said):
    given = {name: value for name, value in row(**changes).items() if value is not None}
    with pytest.raises(SuiteError, match=r"^suite 'tiny', row 'book': ") as caught:
        plan_of(given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_width_has_no_axis(tmp_path):
    given = {name: value for name, value in row(width=8, axis="active").items() if name != "budget"}
    with pytest.raises(SuiteError, match="row 'book' has the axis 'active', which needs a budget"):
        load_experiment(str(write(tmp_path / "mine.toml", values(measure=[], row=[given]))))


def test_both_tasks_train_and_are_scored(tmp_path):
    rows = [row(), row(name="path", task="shortest_path", variant="dense", settings={}, axis="active")]
    given = values(measure=[], row=rows, training=TRAINING | {"steps": 6})
    session = run(write(tmp_path / "tiny.toml", given), tmp_path / "results")
    assert session.unfinished == ()
    (plan,) = session.plans
    book, path = (Store(tmp_path / "results").get(work.cell.identity) for work in finals(plan))
    assert 0 <= book.scores["test_accuracy"] <= 1
    assert book.scores["load_entropy"] > 0
    assert path.reasons["specialization"] == "no experts"
    assert path.counts["active_params"] == path.counts["total_params"]
    assert abs(path.counts["budget_error"]) < 0.01
