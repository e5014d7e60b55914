"""Rows of a board: what the suite has, what a person adds, and what --variant selects; requests and their memory."""

import os

import pytest

from moebench.errors import PluginError, SuiteError, UnknownNameError, UsageError
from moebench.plans.history import board_request, known_suites, name_of, remember, remembered_extras
from moebench.plans.rows import Row, find_spec, resolve_rows, sources_of
from moebench.protocol import PROTOCOL
from moebench.suites.load import find_suites
from moebench.suites.request import ask
from packages import VARIANT, Site, variant
from plans import a_request, a_suite

OWN = ["dense", "soft_moe", "sparse_topk", "dense_active", "random_router"]


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(VARIANT)
    return f"{path}:Mine"


def names(rows):
    return [row.name for row in rows]


def selected(rows):
    return {row.name for row in rows if row.selected}


def test_the_rows_are_the_suites_in_its_order():
    rows = resolve_rows(a_suite(), ())
    assert names(rows) == OWN
    assert selected(rows) == set(OWN)
    assert [row.name for row in rows if row.reference] == OWN[3:]
    assert (rows[3].spec, rows[3].active_of, rows[3].note) == ("dense", "sparse_topk", "active parameters")
    assert {len(row.code_digest) for row in rows} == {20}
    assert rows[0].code_digest == rows[3].code_digest != rows[1].code_digest


@pytest.mark.parametrize(
    ("chosen", "works_on"),
    [
        (["soft_moe"], {"dense", "soft_moe"}),
        (["dense"], {"dense"}),
        (["dense_active"], {"dense", "dense_active"}),
        (["random_router", "sparse_topk"], {"dense", "random_router", "sparse_topk"}),
    ],
)
def test_choosing_restricts_to_the_chosen_and_dense(chosen, works_on):
    rows = resolve_rows(a_suite(), chosen)
    assert names(rows) == OWN
    assert selected(rows) == works_on


def test_a_chosen_file_is_a_row_under_the_name_it_gives_itself(mine):
    rows = resolve_rows(a_suite(), [mine])
    assert names(rows) == [*OWN, "mine"]
    assert selected(rows) == {"dense", "mine"}
    assert rows[-1].spec == mine


def test_an_installed_variant_that_the_suite_lacks_can_be_added():
    suite = a_suite(reference=[], space={})
    assert names(resolve_rows(suite, ["random_router"])) == [*OWN[:3], "random_router"]


def test_a_file_that_is_remembered_is_shown_and_not_run(mine):
    rows = resolve_rows(a_suite(), (), [mine])
    assert names(rows) == [*OWN, "mine"]
    assert selected(rows) == set(OWN)


def test_the_second_run_of_the_same_file_is_the_same_row(mine, tmp_path, monkeypatch):
    """It is remembered by its whole path and asked for by a short one."""
    monkeypatch.chdir(tmp_path)
    rows = resolve_rows(a_suite(), ["mine.py:Mine"], [mine])
    assert names(rows) == [*OWN, "mine"]
    assert selected(rows) == {"dense", "mine"}
    assert find_spec("mine.py:Mine") == mine


def test_added_rows_stand_in_one_order_whether_chosen_or_remembered(tmp_path):
    specs = []
    for name in ("b", "a"):
        (tmp_path / f"{name}.py").write_text(variant(name=f'"{name}"'))
        specs.append(f"{tmp_path / name}.py:Mine")
    assert (
        names(resolve_rows(a_suite(), specs))
        == names(resolve_rows(a_suite(), specs[1:], specs[:1]))
        == [*OWN, "a", "b"]
    )


def test_a_remembered_variant_does_not_unselect_the_reference_that_uses_it():
    suite = a_suite(reference=[{"name": "frozen", "variant": "random_router", "note": "frozen"}], space={})
    rows = resolve_rows(suite, (), ["random_router"])
    assert selected(rows) == {*OWN[:3], "frozen"}
    assert names(rows)[-1] == "random_router"


def test_a_remembered_file_that_is_gone_is_a_row_with_the_reason(tmp_path):
    rows = resolve_rows(a_suite(), (), [f"{tmp_path}/gone.py:Mine", "uninstalled"])
    problems = [row.problem for row in rows[-2:]]
    assert problems[0].startswith(f"there is no file '{tmp_path}/gone.py'")
    assert problems[1].startswith("unknown variant 'uninstalled'")
    assert selected(rows) == set(OWN)


def test_a_chosen_file_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(PluginError, match="there is no file"):
        resolve_rows(a_suite(), [f"{tmp_path}/gone.py:Mine"])


def test_a_misspelt_choice_is_answered_with_the_nearest_row():
    with pytest.raises(UnknownNameError, match=r"^unknown variant 'dense_activ'; did you mean 'dense_active'\?$"):
        resolve_rows(a_suite(), ["dense_activ"])


def test_a_misspelt_variant_of_the_suite_names_the_suite():
    suite = a_suite(variants=["dense", "sfot_moe", "sparse_topk"], space={})
    with pytest.raises(UnknownNameError) as caught:
        resolve_rows(suite, ())
    assert str(caught.value) == "unknown variant 'sfot_moe' in suite 'mine'; did you mean 'soft_moe'?"


def test_a_file_that_takes_a_name_of_the_suite_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(variant(name='"soft_moe"'))
    with pytest.raises(UsageError, match="calls itself 'soft_moe', which the suite already has; rename one"):
        resolve_rows(a_suite(), [f"{path}:Mine"])
    assert names(resolve_rows(a_suite(), (), [f"{path}:Mine"])) == OWN


def test_a_moved_file_takes_the_place_of_the_one_remembered(mine, tmp_path):
    (tmp_path / "moved.py").write_text(VARIANT)
    rows = resolve_rows(a_suite(), [f"{tmp_path}/moved.py:Mine"], [mine])
    assert names(rows) == [*OWN, "mine"]
    assert rows[-1].spec == f"{tmp_path}/moved.py:Mine"


def test_a_suites_own_file_may_be_chosen_by_name_or_by_place(mine):
    suite = a_suite(variants=["dense", mine, "sparse_topk"], space={})
    for chosen in (["mine"], [mine]):
        assert selected(resolve_rows(suite, chosen)) == {"dense", "mine"}


def test_a_file_that_is_not_python_is_a_row_with_the_reason(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def broken(:")
    row = resolve_rows(a_suite(), [f"{path}:Mine"])[-1]
    assert (row.name, row.code_digest) == ("Mine", "")
    assert row.problem == f"'{path}' is not valid Python in line 1 (invalid syntax)."


def test_two_packages_with_one_name_are_a_row_with_both_names_and_the_others_go_on(tmp_path, monkeypatch):
    site = Site(tmp_path / "site", monkeypatch)
    for number in ("one", "two"):
        site.write(f"rows_{number}/variant.py", VARIANT)
        site.install(f"rows-{number}", {"mine": f"rows_{number}.variant:Mine"})
    rows = resolve_rows(a_suite(variants=["dense", "mine", "sparse_topk"], space={}), ())
    assert rows[1].problem == "the packages rows-one and rows-two both bring a 'mine'; uninstall one of them."
    assert [row.problem for row in rows if row.name != "mine"] == [""] * 4


def test_an_object_may_not_take_a_name_of_the_suite():
    assert resolve_rows(a_suite(), ["mine"], (), {"mine": "0" * 20})[-1].selected
    with pytest.raises(UsageError, match="a variant calls itself 'dense', which the suite already has; rename it"):
        resolve_rows(a_suite(), (), (), {"dense": "0" * 20})


def test_changing_seeds_or_trials_changes_the_protocol_string():
    assert a_request().protocol == a_request(seeds=2, trials=4).protocol == PROTOCOL
    assert a_request(seeds=8).protocol == f"{PROTOCOL} (seeds=8)"
    assert a_request(seeds=8, trials=9, micro_batch=4).protocol == f"{PROTOCOL} (seeds=8, trials=9, micro_batch=4)"
    assert (a_request(seeds=8).suite.seeds, a_request(trials=9).suite.tuning.trials) == (8, 9)


@pytest.mark.parametrize(("name", "option"), [("seeds", "seeds"), ("trials", "trials"), ("micro_batch", "micro-batch")])
@pytest.mark.parametrize("value", [0, -1])
def test_an_effort_below_one_is_refused(name, option, value):
    with pytest.raises(UsageError, match=f"^--{option} must be at least 1, not {value}"):
        ask("quick", **{name: value})


def test_a_micro_batch_that_the_suite_fixes_is_not_overruled():
    with pytest.raises(SuiteError, match="fixes micro_batch for a task; leave --micro-batch out"):
        a_request(task=[{"name": "digits", "training": {"micro_batch": 2}}], micro_batch=4)


def test_the_board_is_asked_for_as_the_suite_last_ran(mine, tmp_path):
    results, data = tmp_path / "results", tmp_path / "data"
    assert remembered_extras(results, "quick") == ()
    remember(ask("quick", variants=(mine, "soft_moe"), seeds=5, data=data).requests[0], results)
    assert remembered_extras(results, "quick") == (mine,)
    asked = board_request(results, None)
    assert (asked.suite.name, asked.variants, asked.extras, asked.seeds, asked.data) == ("quick", (), (mine,), 5, data)
    remember(ask("standard").requests[0], results)
    os.utime(results / "quick" / "latest.json", (1, 1))
    assert known_suites(results) == ["standard", "quick"]


def test_a_suites_file_is_found_again_from_any_directory_and_under_its_own_name(tmp_path, monkeypatch):
    text = find_suites()["quick"].read_text()
    (tmp_path / "file.toml").write_text(f'name = "other"\n{text}')
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    remember(ask("file.toml").requests[0], results)
    assert known_suites(results) == ["other"]
    assert name_of("file.toml") == "other"
    for asked in (None, "other", "file.toml"):
        assert board_request(results, asked).suite.name == "other"
    monkeypatch.chdir(elsewhere)
    assert board_request(results, "other").suite.name == "other"
    assert name_of("gone.toml") == "gone", "a file that is gone is known by its own name"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (VARIANT, "has no 'Min'; did you mean 'Mine'?"),
        ("x = 1\n", None),
        ("from elsewhere import Min\n", None),
        ("from elsewhere import *\n", None),
        ("if True:\n    class Min: ...\n", None),
        ("def broken(:\n", None),
    ],
)
def test_a_class_that_a_file_has_not_is_said_before_anything_runs(tmp_path, text, says):
    (tmp_path / "mine.py").write_text(text)
    spec = f"{tmp_path}/mine.py:Min"
    if says is None:
        assert resolve_rows(a_suite(), [spec])[-1].spec == spec, "what cannot be seen is told on import"
    else:
        with pytest.raises(PluginError, match=says):
            resolve_rows(a_suite(), [spec])


def test_a_variant_that_could_not_be_used_is_no_row_of_later_boards(mine, tmp_path):
    results = tmp_path / "results"
    remember(ask("quick", variants=(mine,)).requests[0], results, unusable={mine})
    assert remembered_extras(results, "quick") == ()
    remember(ask("quick", variants=(mine,)).requests[0], results)
    assert remembered_extras(results, "quick") == (mine,)
    remember(ask("quick", extras=(mine,)).requests[0], results, unusable={mine})
    assert remembered_extras(results, "quick") == (mine,), "it has results of better days"


def test_links_are_those_of_moebenchs_own_variant_now_and_of_others_in_the_plan(tmp_path):
    (tmp_path / "mine.py").write_text(
        VARIANT
        + '    paper = "https://example.org/a paper"\n    code = "https://example.org/code"\n    author = "Ada"\n'
    )
    mine = resolve_rows(a_suite(), [f"{tmp_path}/mine.py:Mine"])[-1]
    assert (mine.paper, mine.code) == ("https://example.org/a paper", "https://example.org/code")
    forged = Row("soft", "soft_moe", "soft_moe", "c0de", paper="https://example.org/another")
    assert not any(row.paper for row in resolve_rows(a_suite(), ())), "the plan needs none of moebench's own"
    gone = Row(
        "gone", "gone", "gone", "c0de", paper="javascript:alert(1)", code="http://example.org", author="A\nB" * 50
    )
    assert sources_of([mine, forged, gone]) == {
        "mine": {"author": "Ada", "paper": "", "code": "https://example.org/code"},
        "soft": {
            "author": "moebench",
            "paper": "https://arxiv.org/abs/2308.00951",
            "code": "https://github.com/google-research/vmoe",
        },
        "gone": {"author": ("A B" * 50)[:80], "paper": "", "code": ""},
    }
