"""Finding and accepting plug-ins: a test for each mistake that an author or a user can make."""

import io
import os
import sys

import pytest
import torch
from rich.console import Console

from moebench.cli.listing import table
from moebench.contract import Layer
from moebench.errors import PluginError, UnknownNameError
from moebench.plugins.backends import choose_backend, load_backend, switches_set
from moebench.plugins.find import BACKENDS, find_variant, find_variants, locate
from moebench.plugins.load import load_variant, verify
from packages import VARIANT, Site, variant


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Site(tmp_path / "site", monkeypatch)


def refusal(spec):
    with pytest.raises(PluginError) as caught:
        load_variant(find_variant(str(spec)))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def file_with(tmp_path, source, name="mine.py"):
    path = tmp_path / name
    path.write_text(source)
    return f"{path}:Mine"


def test_the_built_in_variants_come_by_the_same_door():
    found = find_variants()
    for name in ("dense", "soft_moe", "sparse_topk", "random_router"):
        assert (found[name].package, found[name].problem) == ("moebench", "")
        assert found[name].source.is_file()
        assert load_variant(found[name]).name == name


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"^unknown variant 'sfot_moe'; did you mean 'soft_moe'\?$"):
        find_variant("sfot_moe")


def test_a_name_like_nothing_is_answered_with_all():
    with pytest.raises(UnknownNameError, match=r"^unknown variant 'qqq'; known: block_moe, .*sparse_topk, topk_qb\.$"):
        find_variant("qqq")


def test_a_class_in_a_file(tmp_path):
    spec = file_with(tmp_path, VARIANT)
    found = find_variant(spec)
    assert (found.name, found.spec, found.in_file) == ("Mine", spec, True)
    assert load_variant(found).name == "mine"


def test_an_instance_or_a_nested_class_will_do(site, tmp_path):
    assert load_variant(find_variant(file_with(tmp_path, VARIANT + "\nMine = Mine()\n"))).name == "mine"
    site.write("nested_package/inside.py", VARIANT + "\n\nclass Outer:\n    Mine = Mine\n")
    site.install("nested", {"mine": "nested_package.inside:Outer.Mine"})
    assert load_variant(find_variants()["mine"]).name == "mine"


@pytest.mark.parametrize("spec", ["mine.py", "mine.py:", "mine:Mine", "mine.txt:Mine", "mine.py:two words"])
def test_neither_a_name_nor_a_place(spec):
    with pytest.raises(PluginError, match=r"is neither a variant's name nor of the form path\.py:Name\.$"):
        find_variant(spec)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PluginError, match=rf"^there is no file '{tmp_path}/gone.py' for '{tmp_path}/gone.py:Mine'\.$"):
        find_variant(f"{tmp_path}/gone.py:Mine")


def test_a_class_that_is_not_there(tmp_path):
    spec = file_with(tmp_path, VARIANT).replace(":Mine", ":Yours")
    assert refusal(spec) == f"'{tmp_path}/mine.py' has no 'Yours'; it has: Mine."


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no kernel for\\nthis card')", "RuntimeError: no kernel for"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def broken(:", "SyntaxError: "),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyError", "KeyError: no message"),
    ],
)
def test_a_module_that_raises_on_import_does_not_take_the_tool_with_it(tmp_path, source, reason):
    spec = file_with(tmp_path, source)
    assert refusal(spec).startswith(f"{spec}: it fails to import ({reason}")
    assert not [name for name in sys.modules if name.startswith("moebench_file_mine") and sys.modules[name] is None]


def test_an_installed_module_that_raises_on_import(site):
    site.write("raising_package/variant.py", "1 / 0")
    site.install("raising", {"mine": "raising_package.variant:Mine"})
    assert refusal("mine") == "mine: it fails to import (ZeroDivisionError: division by zero) at variant.py, line 1."


def test_a_class_that_cannot_be_made(tmp_path):
    spec = file_with(tmp_path, VARIANT + "\n    def __init__(self, dim):\n        pass\n")
    assert refusal(spec).startswith(f"{spec}: Mine() raised TypeError: ")


def test_two_packages_with_one_name_make_it_unavailable(site):
    for number in ("one", "two"):
        site.write(f"package_{number}/variant.py", VARIANT)
        site.install(f"package-{number}", {"mine": f"package_{number}.variant:Mine"})
    assert refusal("mine") == (
        "mine: the packages package-one and package-two both bring a 'mine'; uninstall one of them."
    )
    assert find_variants()["dense"].problem == ""


def test_two_packages_that_point_to_one_class_are_two_all_the_same(site):
    site.write("package_shared/variant.py", VARIANT)
    for number in ("one", "two"):
        site.install(f"package-{number}", {"mine": "package_shared.variant:Mine"})
    assert "package-one and package-two" in find_variants()["mine"].problem


def test_a_name_that_a_stranger_takes_from_the_built_in_ones(site):
    site.write("package_grab/variant.py", variant(name='"dense"'))
    site.install("package-grab", {"dense": "package_grab.variant:Mine"})
    assert "the packages moebench and package-grab both bring a 'dense'" in refusal("dense")


def test_an_entry_point_to_a_module_that_is_not_there(site):
    site.install("hollow", {"mine": "hollow_package.variant:Mine"})
    assert refusal("mine") == "mine: there is no module 'hollow_package.variant'."


def test_an_entry_point_without_a_class(site):
    site.install("classless", {"mine": "classless_package"})
    assert refusal("mine") == "mine: its entry point is 'classless_package', not of the form module:Class."


def test_an_entry_point_of_another_name_than_the_variant(site):
    site.write("renamed_package/variant.py", VARIANT)
    site.install("renamed", {"yours": "renamed_package.variant:Mine"})
    assert refusal("yours") == "yours: it calls itself 'mine', its entry point 'yours'."


def test_finding_runs_nothing_of_the_package(site):
    """A package that imports a framework at its top must not make listing slow."""
    site.write("eager_package/__init__.py", "raise RuntimeError('imported')")
    source = site.write("eager_package/deep/variant.py", VARIANT)
    site.install("eager", {"mine": "eager_package.deep.variant:Mine"})
    found = find_variants()["mine"]
    assert (found.source, found.problem) == (source, "")
    assert not [name for name in sys.modules if name.startswith("eager_package")]


def test_a_nested_namespace_package_is_found(site):
    path = site.folder / "spacious" / "inner" / "variant.py"
    path.parent.mkdir(parents=True)
    path.write_text(VARIANT)
    site.install("spacious", {"mine": "spacious.inner.variant:Mine"})
    assert find_variants()["mine"].source == path
    assert load_variant(find_variants()["mine"]).name == "mine"


def test_nothing_lies_below_a_module_that_is_no_package():
    assert locate("moebench.errors.deeper") is None
    assert locate("nothing_of_this_name.deeper") is None
    assert locate("moebench.errors").origin.endswith("errors.py")


def test_a_class_that_is_no_variant(tmp_path):
    spec = file_with(tmp_path, VARIANT.replace("class Mine(Variant)", "class Mine"))
    assert refusal(spec) == f"{spec}: it must be a moebench.contract.Variant, not a Mine."


def test_a_build_that_is_missing(tmp_path):
    spec = file_with(tmp_path, VARIANT.replace("def build(", "def other("))
    assert refusal(spec) == f"{spec}: it has no method build(shape, size, *, ...)."


@pytest.mark.parametrize("takes", ["shape", "shape, size, settings", "shape, size, *given"])
def test_a_build_that_takes_something_else(tmp_path, takes):
    spec = file_with(tmp_path, VARIANT.replace("build(self, shape, size)", f"build(self, {takes})"))
    assert refusal(spec) == f"{spec}: build() takes ({takes}), not (shape, size, *, ...)."


def test_a_setting_without_a_default(tmp_path):
    spec = file_with(tmp_path, VARIANT.replace("build(self, shape, size)", "build(self, shape, size, *, experts)"))
    assert refusal(spec) == f"{spec}: the setting 'experts' of build() needs a default."


@pytest.mark.parametrize(
    ("tune", "why"),
    [
        ("{'expert': (8, 16)}", "it tunes 'expert', which is no keyword-only argument of its build()."),
        ("{'experts': 8}", "it tunes 'experts' with 8, not a tuple of options or a Uniform."),
        ("{'experts': ()}", "it tunes 'experts' with (), not a tuple of options or a Uniform."),
    ],
)
def test_a_choice_of_what_cannot_be_set(tmp_path, tune, why):
    source = VARIANT.replace("build(self, shape, size)", "build(self, shape, size, *, experts=8)")
    spec = file_with(tmp_path, source.replace("causal = False", f"tune = {tune}"))
    assert refusal(spec) == f"{spec}: {why}"


@pytest.mark.parametrize("name", ['"Mine"', '"my-layer"', '"2fast"', '""', "None", "7", '"a" * 41'])
def test_a_name_that_is_not_well_formed(tmp_path, name):
    spec = file_with(tmp_path, variant(name=name))
    shown = eval(name)
    assert refusal(spec) == (
        f"{spec}: its name '{shown}' must be lower-case letters, digits and underscores, at most 40."
    )


def test_an_object_is_held_to_the_same_rules():
    with pytest.raises(PluginError, match=r"^it: it must be a moebench.contract.Variant, not the class Layer\.$"):
        verify("it", Layer)


def test_an_edit_of_the_same_length_in_the_same_second_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    spec = file_with(tmp_path, variant(name='"aaaa"'))
    os.utime(tmp_path / "mine.py", (1e9, 1e9))
    first = load_variant(find_variant(spec))
    assert type(load_variant(find_variant(spec))) is type(first)
    file_with(tmp_path, variant(name='"bbbb"'))
    os.utime(tmp_path / "mine.py", (1e9, 1e9))
    assert (first.name, load_variant(find_variant(spec)).name) == ("aaaa", "bbbb")


def test_two_files_of_one_name_do_not_meet(tmp_path):
    specs = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        specs.append(file_with(tmp_path / folder, variant(name=f'"from_{folder}"')))
    assert [load_variant(find_variant(spec)).name for spec in specs] == ["from_a", "from_b"]


def test_the_errors_survive_a_process_boundary():
    import pickle

    error = UnknownNameError("variant", "sfot", ["soft_moe"], "suite 'quick'")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_the_built_in_backends_are_found_and_an_unknown_one_is_named():
    assert {"loop", "grouped"} <= set(BACKENDS.installed())
    with pytest.raises(UnknownNameError, match="unknown backend 'looop'; did you mean 'loop'"):
        load_backend("looop")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise OSError('no compiler')", "it fails to import (OSError: no compiler) at backend_a.py, line 1."),
        ("other = 1", "has no 'run'."),
        ("def run(*a): pass\ndef available(): return 'no such card'", "it does not work here: no such card."),
    ],
)
def test_a_backend_that_cannot_be_had_says_why(site, source, reason):
    sys.modules.pop("backend_a", None)
    site.write("backend_a.py", source)
    site.install("backend-a", {"fast": "backend_a:run"}, group="moebench.backends")
    with pytest.raises(PluginError) as caught:
        load_backend("fast")
    assert str(caught.value).startswith("backend fast: ")
    assert str(caught.value).endswith(reason)


def test_a_chosen_backend_is_what_computes(site):
    source = "def run(experts, rows, counts, most): return rows.new_full((len(rows), experts.w_out_EHO.shape[2]), 7.0)"
    site.write("backend_b.py", source)
    site.install("backend-b", {"sevens": "backend_b:run"}, group="moebench.backends")
    from layers import slots
    from moevariants.sparse_topk import SparseTopK

    layer = SparseTopK().layer(slots()[0], 4, {"experts": 4})
    choose_backend(layer, "sevens")
    y_BTO = layer(torch.randn(2, 3, 64))
    assert torch.allclose(y_BTO, torch.full_like(y_BTO, 7.0))
    choose_backend(layer, None)
    assert not torch.allclose(layer(torch.randn(2, 3, 64)), torch.full_like(y_BTO, 7.0))


def test_switches_that_are_set_are_told(site, monkeypatch):
    source = "SWITCHES = ('FAST', 'SAFE')\ndef run(*a): pass"
    site.write("backend_c.py", source)
    site.install("backend-c", {"switched": "backend_c:run"}, group="moebench.backends")
    monkeypatch.setenv("FAST", "1")
    monkeypatch.delenv("SAFE", raising=False)
    assert switches_set("switched") == {"FAST": "1"}
    assert switches_set("loop") == switches_set(None) == {}
    assert switches_set("one that is not there") == {}


def test_the_list_says_why_a_backend_cannot_be_used(site):
    site.write("backend_d.py", "import no_such_package\ndef run(*a): pass")
    site.write("backend_e.py", "def run(*a): pass\ndef available(): return 'no such card'")
    entries = {"needy": "backend_d:run", "carded": "backend_e:run"}
    site.install("backend-d", entries, group="moebench.backends")
    said = {load: "".join(rendered(table("backends", load=load)).split()) for load in (False, True)}
    assert "notusable:itimports'no_such_package',whichisnotinstalled." in said[False]
    assert "nosuchcard" in said[True]
    assert "Oneexpertaftertheother" in said[True]


def rendered(table):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()
