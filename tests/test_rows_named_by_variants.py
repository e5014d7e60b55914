"""A row from a file has the name that its variant gives itself, whether its text says it or only the import does."""

import dataclasses

import pytest

from moebench.errors import UsageError
from moebench.plans.cache import get_plan
from moebench.plans.make import make_plan
from moebench.plugins.find import declared, find_variant
from moebench.suites.schema import NamedRow
from packages import variant
from plans import ALONE, a_request

WRAPPED = """
from torch import nn
from moebench import wrap

mine = wrap(lambda d, h: nn.Sequential(nn.Linear(d, h), nn.{act}(), nn.Linear(h, d)), name={name})
"""
COMPUTED = variant(name='f"mine_v{1 + 1}"')


def write(folder, name, text):
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.fixture
def two(tmp_path):
    """Two files with an object ``mine`` each, of different names."""
    first = write(tmp_path, "a.py", WRAPPED.format(act="ReLU", name='"first"'))
    second = write(tmp_path, "b.py", WRAPPED.format(act="GELU", name='"sec" + "ond"'))
    return f"{first}:mine", f"{second}:mine"


def added(plan):
    return [(row.name, row.variant, bool(row.problem)) for row in plan.rows if ".py:" in row.spec]


def test_two_objects_called_mine_are_two_rows_under_their_own_names(two, tmp_path):
    for specs in (two, two[::-1]):
        plan = make_plan(a_request(specs, **ALONE))
        assert sorted(added(plan)) == [("first", "first", False), ("second", "second", False)]
        assert {group.row for group in plan.groups} >= {"first", "second"}


def test_a_computed_name_is_the_name_of_the_row_alone_and_beside_another(tmp_path):
    spec = f"{write(tmp_path, 'm.py', COMPUTED)}:Mine"
    (tmp_path / "other").mkdir()
    third = write(tmp_path / "other", "m.py", variant(name='"THIRD".lower()')) + ":Mine"
    assert added(make_plan(a_request([spec], **ALONE))) == [("mine_v2", "mine_v2", False)]
    assert sorted(name for name, *_ in added(make_plan(a_request([spec, third], **ALONE)))) == ["mine_v2", "third"]


def test_a_kept_plan_knows_the_names_and_what_is_chosen(two, tmp_path):
    made = []
    for _ in range(2):
        plan = get_plan(a_request(two, **ALONE), tmp_path / "results", lambda: made.append(1))
        assert [name for name, *_ in added(plan)] == ["first", "second"]
    assert len(made) == 1
    other = get_plan(a_request([two[0]], extras=[two[1]], **ALONE), tmp_path / "results", lambda: made.append(1))
    assert {row.name: row.selected for row in other.rows}.items() >= {"first": True, "second": False}.items()
    assert len(made) == 1


def test_two_that_give_themselves_one_name_are_refused_and_a_remembered_one_gives_way(tmp_path):
    one, two = (f"{write(tmp_path, f'{n}.py', COMPUTED + f'# {n}')}:Mine" for n in "ab")
    with pytest.raises(UsageError) as caught:
        make_plan(a_request([one, two], **ALONE))
    assert (caught.value.code, caught.value.facts["name"]) == ("added-name-taken", "mine_v2")
    plan = make_plan(a_request([two], extras=[one], **ALONE))
    assert [row.spec for row in plan.rows if row.name == "mine_v2"] == [two]


def test_files_of_a_suite_are_named_by_their_variants(two):
    request = a_request(**ALONE)
    suite = request.suite.model_copy(update={"variants": [*request.suite.variants, *two]})
    plan = make_plan(dataclasses.replace(request, suite=suite))
    assert [name for name, *_ in added(plan)] == ["first", "second"]


def test_the_name_given_to_a_call_is_read_without_importing(two):
    assert declared(find_variant(two[0]), "name") == "first"
    assert declared(find_variant(two[1]), "name") == ""


def test_rows_that_the_suite_names_keep_these_names_though_they_are_one_file(tmp_path):
    spec = f"{write(tmp_path, 'm.py', COMPUTED)}:Mine"
    request = a_request(**ALONE)
    named = [NamedRow(name=name, variant=spec) for name in ("few", "many")]
    plan = make_plan(dataclasses.replace(request, suite=request.suite.model_copy(update={"ranked": named})))
    assert added(plan) == [("few", "mine_v2", False), ("many", "mine_v2", False)]
    assert {group.row for group in plan.groups} >= {"few", "many"}
