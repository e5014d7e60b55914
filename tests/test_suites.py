"""Suite files: those that come along validate, and every mistake is one sentence: file, key, what is right."""

import copy
import subprocess
import sys
import tomllib

import pytest

from moebench.errors import SuiteError, UnknownNameError
from moebench.plugins.find import find_variants
from moebench.suites import find_suites, load_experiment, load_suite
from moebench.suites.load import check_hosts, parse_suite

QUICK = tomllib.loads(find_suites()["quick"].read_text())


def changed(path, value):
    """The quick suite with one value changed, added or (None) removed; numbers in the path are places."""
    values = copy.deepcopy(QUICK) | {"name": "mine"}
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    table = values
    for key in keys:
        table = table.setdefault(key, {}) if isinstance(table, dict) else table[key]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return values


def complaint(path, value):
    with pytest.raises(SuiteError) as caught:
        check_hosts(parse_suite(changed(path, value), "mine.toml"), "mine.toml")
    message = str(caught.value)
    assert message.startswith("suite 'mine.toml': ")
    assert "\n" not in message
    return message.removeprefix("suite 'mine.toml': ")


@pytest.mark.parametrize("name", find_suites())
def test_every_suite_that_comes_along_validates(name):
    experiment = load_experiment(name)
    assert experiment.name == name
    assert experiment.title
    for suite in experiment.suites:
        assert suite.tuning is None or "dense" in suite.variants


ELSEWHERE = {"block_moe", "conv_moe", "plain_block", "plain_conv", "mmoe", "ple", "home"}
"""Layers of feature maps, and of several targets."""
NOT_CAUSAL = {"soft_moe", "expert_choice", "smola"}


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("quick-all", {"hash_token", "oracle_router"}),  # digits have no token ids, and no groups
        ("controls-all", {"hash_token"}),
        ("text", {"oracle_router", *NOT_CAUSAL}),
        ("text-quick-all", {"oracle_router", *NOT_CAUSAL}),
    ],
)
def test_the_suites_of_all_layers_have_all_of_them(name, without):
    suite = load_suite(name)
    rows = {*suite.variants, *(reference.variant for reference in suite.reference)}
    built_in = {found.name for found in find_variants().values() if found.package == "moebench"}
    assert rows == built_in - ELSEWHERE - without


def test_quick_is_what_the_readme_promises():
    quick = load_suite("quick")
    assert quick.variants == ["dense", "soft_moe", "sparse_topk"]
    assert [reference.name for reference in quick.reference] == ["dense_active", "random_router"]
    assert (quick.task_names, quick.axis, quick.training.threads) == (["digits"], "total", 1)
    assert quick.tuning.trials >= 4
    assert quick.seeds >= 3


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("titel", "A board", "unknown key 'titel'; did you mean 'title'?"),
        ("title", None, "the key 'title' is missing."),
        ("budgets", None, "the key 'budgets' is missing."),
        ("tuning", None, "the key 'tuning' is missing."),
        ("training.lr", 0.1, "training.lr is for rows of fixed settings, of which there are none; see [tuning]."),
        ("zzz", 1, "unknown key 'zzz'; known: axis, budgets, full_seeds, host, ladder, latency, measure, name, "
                   "rank_by, ranked, reference, row, seeds, smallest_difference, space, study, task, thin_sidecars, "
                   "title, training, tuning, variants."),
        ("host.dimm", 64, "unknown key 'host.dimm'; did you mean 'dim'?"),
        ("training.step", 10, "unknown key 'training.step'; did you mean 'steps'?"),
        ("tuning.trails", 10, "unknown key 'tuning.trails'; did you mean 'trials'?"),
        ("tuning.lr.hgih", 1.0, "unknown key 'tuning.lr.hgih'; did you mean 'high'?"),
        ("latency.rouds", 12, "unknown key 'latency.rouds'; did you mean 'rounds'?"),
        ("reference.0.activ_of", "dense", "unknown key 'reference.0.activ_of'; did you mean 'active_of'?"),
        ("task.0.hots", {}, "unknown key 'task.0.hots'; did you mean 'host'?"),
        ("task.0.host", {"ptach": 2}, "unknown key 'task.0.host.ptach'; did you mean 'patch'?"),
        ("task.0.training", {"stepps": 2}, "unknown key 'task.0.training.stepps'; did you mean 'steps'?"),
        ("task.0.name", None, "the key 'task.0.name' is missing."),
    ],
)  # fmt: skip
def test_an_unknown_or_missing_key(path, value, said):
    assert complaint(path, value) == said


def test_a_misspelt_key_is_named_before_the_one_that_it_leaves_missing():
    values = changed("titel", "A board")
    del values["title"]
    with pytest.raises(SuiteError, match=r"unknown key 'titel'; did you mean 'title'\?$"):
        check_hosts(parse_suite(values, "mine.toml"), "mine.toml")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("task.0.name", "digit", "unknown task 'digit'; did you mean 'digits'?"),
        ("host.name", "vitt", "unknown host 'vitt'; did you mean 'vit'?"),
        ("axis", "totla", "axis: must be 'total', 'active' or 'flops', not 'totla'."),
        ("tuning.sampler", "tpee", "tuning.sampler: must be 'grid', 'random' or 'tpe', not 'tpee'."),
        ("training.precision", "fp16", "training.precision: must be 'auto', 'fp32' or 'bf16', not 'fp16'."),
        (
            "space.soft_mo",
            {"experts": [8]},
            "space.soft_mo is for a variant that the suite does not have; did you mean 'soft_moe'?",
        ),
        (
            "reference.0.active_of",
            "sparse_topkk",
            "active_of of the reference 'dense_active' is 'sparse_topkk'; did you mean 'sparse_topk'?",
        ),
    ],
)
def test_a_misspelt_name(path, value, said):
    assert complaint(path, value) == said


def test_a_misspelt_variant_is_named_before_the_space_that_it_leaves_behind():
    for wrong, right in (("sfot_moe", "soft_moe"), ("sparse_topkk", "sparse_topk")):
        variants = [wrong if name == right else name for name in QUICK["variants"]]
        assert complaint("variants", variants) == f"unknown variant '{wrong}'; did you mean '{right}'?"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("seeds", "three", "seeds: must be a whole number, not 'three'."),
        ("seeds", 2.5, "seeds: must be a whole number, not 2.5."),
        ("seeds", True, "seeds: must be a whole number, not True."),
        ("title", 3, "title: must be a string, not 3."),
        ("budgets", 264_000, "budgets: must be a list, not 264000."),
        ("budgets.0", 2e5, "budgets.0: must be a whole number, not 200000.0."),
        ("host.dim", "64", "host.dim: must be a whole number, not '64'."),
        ("host.dim", True, "host.dim: must be a whole number, not True."),
        ("host.replace", "all", "host.replace: must be a list, not 'all'."),
        ("host.bias", 1, "host.bias: must be a valid boolean, not 1."),
        ("task", "digits", "task: must be a list, not 'digits'."),
        ("task.0", "digits", "task.0: must be a table, not 'digits'."),
        ("task.0.training", {"steps": "x"}, "task.0.training.steps: must be a whole number, not 'x'."),
        ("training.micro_batch", "x", "training.micro_batch: must be a whole number, not 'x'."),
        ("tuning.lr", 0.1, "tuning.lr: must be a table, not 0.1."),
        ("tuning.lr.low", "1e-3", "tuning.lr.low: must be a number, not '1e-3'."),
        ("tuning.lr.low", True, "tuning.lr.low: must be a number, not True."),
        ("space.soft_moe", 8, "space.soft_moe: must be a table, not 8."),
        ("space.soft_moe.experts", 8, "space.soft_moe.experts: must be a list, not 8."),
        ("space.soft_moe.experts", [[8]], "space.soft_moe.experts.0: must be a number, a string, true or false."),
    ],
)
def test_a_value_of_the_wrong_type_is_not_made_to_fit(path, value, said):
    assert complaint(path, value) == said


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("seeds", 0, "seeds: must be greater than or equal to 1, not 0."),
        ("budgets.0", -5, "budgets.0: must be greater than or equal to 1, not -5."),
        ("budgets", [], "budgets: must not be empty."),
        ("variants", [], "variants: must not be empty."),
        ("latency.rounds", 3, "latency.rounds: must be greater than or equal to 6, not 3."),
        ("training.micro_batch", 0, "training.micro_batch: must be greater than or equal to 1, not 0."),
        ("host.dim", 65, "host: dim 65 must be a multiple of heads 4."),
        ("host.replace", [0, 5], "host: replace [0, 5] must name different blocks from 0 to 1."),
        ("tuning.lr.high", float("inf"), "tuning.lr.high: must be a finite number, not inf."),
        ("tuning.lr.low", 0.0, "tuning.lr.low: must be greater than 0, not 0.0."),
        ("tuning.lr.low", 9.0, "tuning.lr: low 9.0 must be below high 0.08."),
        ("tuning.lr.default", 9.0, "tuning.lr: default 9.0 must lie between low 0.00125 and high 0.08."),
        ("space.soft_moe.experts", [], "space.soft_moe.experts: must not be empty."),
        ("variants", ["dense", "dense", "sparse_topk"], "row 'dense' is named twice."),
        ("variants", ["dense", "dense_active", "sparse_topk"], "row 'dense_active' is named twice."),
        ("budgets", [5, 7, 5], "budget '5' is named twice."),
        ("task", [{"name": "digits"}, {"name": "digits"}], "task 'digits' is named twice."),
        (
            "reference.0.name",
            "a/b",
            "reference.0.name: a row's name must be lower-case letters, digits and underscores, not 'a/b'.",
        ),
        (
            "name",
            "My_Suite",
            "name: a suite's name (or its file's) is up to 64 lower-case letters, digits and hyphens, not 'My_Suite'.",
        ),
    ],
)
def test_a_value_out_of_range(path, value, said):
    assert complaint(path, value) == said


def test_a_task_may_differ_in_host_and_training():
    suite = parse_suite(changed("task.0", {"name": "digits", "host": {"patch": 4}, "training": {"steps": 5}}), "x")
    assert suite.task[0].host == {"patch": 4}
    assert parse_suite(changed("host.replace", [1]), "x").host["replace"] == [1]


def test_the_space_of_a_variant_from_a_file_waits_for_its_name():
    values = changed("variants", ["dense", "sparse_topk", "mine.py:Mine"])
    values["space"] = {"mine": {"experts": [8]}}
    assert parse_suite(values, "x").space == {"mine": {"experts": [8]}}


def test_a_misspelt_suite_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"^unknown suite 'quik'; did you mean 'quick'\?$"):
        load_suite("quik")


def test_a_suite_of_ones_own_has_the_name_of_its_file(tmp_path):
    path = tmp_path / "our-own.toml"
    path.write_text(find_suites()["quick"].read_text())
    assert load_suite(str(path)).name == "our-own"
    assert load_suite(str(path)).model_copy(update={"name": "quick"}) == load_suite("quick")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SuiteError, match=rf"^there is no suite file '{tmp_path}/gone.toml'\.$"):
        load_suite(f"{tmp_path}/gone.toml")


@pytest.mark.parametrize("content", [b"title = ", b"title = 'a'\ntitle = 'b'", b"title = '\xff'"])
def test_a_file_that_is_not_toml(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(SuiteError, match=rf"^'{path}' is not valid TOML: "):
        load_suite(str(path))


def test_reading_suites_pays_for_no_heavy_library():
    code = (
        "import sys; from moebench.suites import find_suites, load_experiment\n"
        "[load_experiment(name) for name in find_suites()]\n"
        "heavy = {'torch', 'numpy', 'optuna', 'mlflow', 'sklearn', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
