"""``moebench new``: what it writes works at once, and what it refuses it names."""

from __future__ import annotations

import ast
import sys
import tomllib

import pytest

from moebench.checks import run_checks
from moebench.cli.main import main
from moebench.errors import UsageError
from moebench.plugins.load import NAME as RULE_OF_THE_CONTRACT
from moebench.plugins.new import class_name, write_package
from moebench.plugins.new.write import NAME, USED_IN_TEMPLATE


@pytest.fixture
def new(monkeypatch, capsys, tmp_path):
    def call(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["moebench", "new", *words])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err.strip()

    return call


VIEWS = {"views_have_outputs", "views_share_the_experts", "views_are_apart"}


def test_new_variant_passes_every_check(tmp_path):
    write_package("brand_new", tmp_path / "brand_new")
    report = run_checks(f"{tmp_path}/brand_new/src/brand_new/layer.py:BrandNew")
    assert report.problem == ""
    assert [(row.name, row.message) for row in report.failures] == []
    rules = {"rules_are_as_claimed", "renormalise_shares_out_one", "mask_logits_of_all_is_no_rule"}
    unclaimed = {"token_equivariance", "single_expert", "gate_is_one_softmax", *VIEWS}
    optional = {"dispatch_weights_are_shares", "whole_inputs_are_routed", *rules, *unclaimed}
    assert {row.name for row in report.rows if row.outcome == "not applicable"} <= optional


def test_package_is_complete_and_names_itself(tmp_path):
    files = write_package("brand_new", tmp_path / "here")
    assert [str(path.relative_to(tmp_path / "here")) for path in files] == [
        "pyproject.toml",
        "README.md",
        "src/brand_new/__init__.py",
        "src/brand_new/layer.py",
        "tests/test_brand_new.py",
    ]
    for path in files:
        text = path.read_text()
        assert "{" + "{" not in text
        assert text.endswith("\n")
        assert max(map(len, text.splitlines())) <= 120
    project = tomllib.loads(files[0].read_text())["project"]
    assert project["name"] == "brand_new"
    assert project["entry-points"]["moebench.variants"] == {"brand_new": "brand_new:BrandNew"}


def test_layer_imports_only_the_contract_and_the_parts(tmp_path):
    tree = ast.parse(write_package("brand_new", tmp_path / "here")[3].read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {module for module in modules if module.startswith("moe")}
    assert ours == {"moebench.contract", "moevariants.parts"}


def test_own_class_never_hides_what_the_template_imports(tmp_path):
    tree = ast.parse(write_package("brand_new", tmp_path / "here")[3].read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {name for name in imported if name[0].isupper() and not name.isupper()} == USED_IN_TEMPLATE
    assert class_name("layer") == "LayerVariant"
    assert class_name("my_own_moe2") == "MyOwnMoe2"


def test_rule_for_names_is_that_of_the_contract():
    assert NAME.pattern == RULE_OF_THE_CONTRACT.pattern


def test_command_says_what_it_wrote_and_what_comes_next(new, tmp_path):
    status, out, _ = new("brand_new")
    assert status == 0
    assert (tmp_path / "brand_new" / "src" / "brand_new" / "layer.py").is_file()
    assert "moebench check brand_new/src/brand_new/layer.py:BrandNew" in out


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("My-Layer", "'My-Layer' is no name for a variant; use lower-case letters, digits and underscores"),
        ("2fast", "'2fast' is no name for a variant"),
        ("x" * 41, "at most 40"),
        ("class", "'class' is a word of Python's own"),
        ("none", "'none' is a word of Python's own"),
        ("dense", "'dense' is taken: the package moebench brings a variant of that name"),
        ("json", "'json' is taken: a Python module of that name can be imported already"),
    ],
)
def test_bad_name_is_refused_in_one_sentence(new, tmp_path, name, sentence):
    status, out, said = new(name)
    assert (status, out) == (2, "")
    assert sentence in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_refusal_shows_a_name_that_would_do(tmp_path):
    with pytest.raises(UsageError, match="such as 'my_layer'"):
        write_package("MyLayer", tmp_path / "here")


def test_directory_with_something_in_it_is_left_alone(new, tmp_path):
    (tmp_path / "brand_new").mkdir()
    (tmp_path / "brand_new" / "mine.txt").write_text("mine")
    status, _, said = new("brand_new")
    assert status == 2
    assert "'brand_new' exists already" in said
    assert [path.name for path in (tmp_path / "brand_new").iterdir()] == ["mine.txt"]


def test_place_that_cannot_be_written_is_named(new, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, said = new("brand_new", "--directory", "file/below")
    assert status == 2
    assert "file/below" in said
    assert "\n" not in said
