"""What stands for a plug-in's code in an identity: a built-in's revision, else a digest of what the code does."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import moevariants
from moebench.errors import PluginError
from moebench.plugins.find import find_variant, find_variants
from moebench.plugins.identity import code_digest, code_identity, spelling
from packages import VARIANT, Site

PACKAGE = {
    "{p}/__init__.py": "",
    "{p}/variant.py": "from {p}.parts import gate\nfrom . import experts as ex\n" + VARIANT,
    "{p}/parts/__init__.py": "",
    "{p}/parts/gate.py": "from ..deep import SCALE\ngate = 2 * SCALE\n",
    "{p}/experts.py": "def work(x):\n    return x + 1\n",
    "{p}/deep.py": "SCALE = 3\n",
    "{p}/other.py": "UNUSED = 3\n",
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Site(tmp_path / "site", monkeypatch)


def package(site, name):
    for path, source in PACKAGE.items():
        site.write(path.format(p=name), source.format(p=name) if "{p}" in source else source)
    site.install(name, {"mine": f"{name}.variant:Mine"})
    return lambda: code_digest(find_variants()["mine"])


def digest_of(path, source=None):
    if source is not None:
        path.write_text(source)
    return code_digest(find_variant(f"{path}:Mine"))


REWRITTEN = '''"""A docstring that was not there."""
# a comment
from moebench.contract import (
    Variant,
)
class Mine(Variant):
    name: str
    """Said after an attribute."""
    name = 'mine'; causal = (False)
    def build(self, shape, size):
        """Says nothing new."""
        pass
        from moevariants.dense import DenseLayer
        return DenseLayer(shape,
                          size)
'''


def test_comments_docstrings_and_formatting_change_nothing(tmp_path):
    plain = VARIANT.replace("    name = ", "    name: str\n    name = ")
    assert digest_of(tmp_path / "mine.py", plain) == digest_of(tmp_path / "mine.py", REWRITTEN)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("(shape, size)", "(shape, size + 1)"),
        ("False", "True"),
        ("def build", "@staticmethod\n    def build"),
        ("(self, shape, size)", "(self, shape, size=None)"),
    ],
)
def test_a_changed_line_changes_it(tmp_path, was, now):
    before = digest_of(tmp_path / "mine.py", VARIANT)
    assert VARIANT.replace(was, now) != VARIANT
    assert digest_of(tmp_path / "mine.py", VARIANT.replace(was, now)) != before


@pytest.mark.parametrize(
    ("was", "now"), [("1", "True"), ("1", "'1'"), ("1", "1.0"), ("'a'", "b'a'"), ("x", "not x"), ("[]", "()")]
)
def test_values_that_are_equal_but_not_the_same_are_told_apart(was, now):
    assert spelling(ast.parse(f"y = {was}")) != spelling(ast.parse(f"y = {now}"))


def test_another_class_of_the_file_is_another_variant(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(VARIANT + "\nYours = Mine\n")
    assert code_digest(find_variant(f"{path}:Mine")) != code_digest(find_variant(f"{path}:Yours"))


@pytest.mark.parametrize("changed", ["variant.py", "parts/gate.py", "experts.py", "deep.py"])
def test_what_it_imports_from_its_own_package_counts(site, changed):
    name = "own_" + changed.replace("/", "_").removesuffix(".py").strip("_")
    digest = package(site, name)
    before = digest()
    path = site.folder / name / changed
    path.write_text(path.read_text() + "\nMORE = 1\n")
    assert digest() != before


def test_what_it_does_not_import_does_not_count(site):
    digest = package(site, "unused")
    before = digest()
    site.write("unused/other.py", "MORE = 1\n")
    assert digest() == before


def test_reading_the_digest_imports_nothing(site):
    package(site, "unread")()
    assert not [name for name in sys.modules if name.startswith("unread")]


def test_a_package_init_counts_only_for_what_it_defines(site):
    digest = package(site, "doors")
    before = digest()
    site.write("doors/parts/__init__.py", "UNUSED = 1\n")
    assert digest() == before
    site.write("doors/variant.py", "from doors.parts import gate\nfrom doors.parts import SCALE\n" + VARIANT)
    site.write("doors/parts/__init__.py", "from doors.deep import SCALE\nUNUSED = 1\n")
    handed_on = digest()
    site.write("doors/parts/__init__.py", "from doors.deep import SCALE\nUNUSED = 2\n")
    assert digest() == handed_on
    site.write("doors/deep.py", "SCALE = 4\n")
    assert digest() != handed_on
    site.write("doors/parts/__init__.py", "SCALE = 4\n")
    defined = digest()
    site.write("doors/parts/__init__.py", "SCALE = 5\n")
    assert digest() != defined


def test_annotations_and_imports_for_type_checkers_change_nothing(tmp_path):
    typed = VARIANT.replace("(self, shape, budget)", "(self, shape: Shape, budget: int) -> Space")
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from beside_for_types import Shape\n" + typed
    bare = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from beside_for_types import Shape\n" + VARIANT
    (tmp_path / "beside_for_types.py").write_text("Shape = 1\n")
    before = digest_of(tmp_path / "mine.py", typed)
    assert digest_of(tmp_path / "mine.py", bare) == before
    (tmp_path / "beside_for_types.py").write_text("Shape = 2\n")
    assert digest_of(tmp_path / "mine.py") == before


def copied(site):
    """The built-in package where it can be edited; its modules are read, not imported."""
    return Path(shutil.copytree(Path(moevariants.__file__).parent, site.folder / "moevariants"))


def built_in():
    return {name: code_identity(found) for name, found in find_variants().items() if found.package == "moebench"}


def test_no_edit_of_the_built_in_package_but_of_a_revision_changes_an_identity(site):
    before, package = built_in(), copied(site)
    assert len(before) == len(set(before.values())) > 10
    for path in package.rglob("*.py"):
        path.write_text(path.read_text().replace("routing", "decided") + "\nMORE = 1\n")
    assert built_in() == before
    dense = package / "dense.py"
    dense.write_text(dense.read_text().replace(before["dense"], "2"))
    assert built_in() == before | {"dense": "2"}


def test_an_inherited_revision_is_not_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from moevariants.dense import Dense\n\nclass Mine(Dense):\n    name = 'mine'\n    revision = 'x'\n"
    )
    assert code_identity(find_variant(f"{path}:Mine")) == digest_of(path)


@pytest.mark.parametrize(
    ("composed", "follows"),
    [
        ("from moevariants.parts import Experts", {"parts"}),
        ("from moevariants.parts.sparse import SparseLayer", {"parts"}),
        ("from moevariants.dense import DenseLayer", {"parts", "dense"}),
        ("import torch", set()),
    ],
)
def test_a_file_follows_the_revisions_of_what_it_composes(site, tmp_path, composed, follows):
    package = copied(site)
    source = f"{composed}\n{VARIANT.replace('moevariants.dense', 'torch')}"
    before = digest_of(tmp_path / "a.py", source)
    experts = package / "parts" / "experts.py"
    experts.write_text(experts.read_text() + "\nMORE = 1\n")
    assert digest_of(tmp_path / "a.py") == before
    edits = {
        "parts": (package / "parts" / "__init__.py", 'REVISION = "1"', 'REVISION = "2"'),
        "dense": (package / "dense.py", "revision = ", "revision = 'new' + "),
        "soft_moe": (package / "soft_moe.py", "revision = ", "revision = 'new' + "),
    }
    for name, (path, was, now) in edits.items():
        text = path.read_text()
        assert was in text
        path.write_text(text.replace(was, now))
        assert (digest_of(tmp_path / "a.py") != before) == (name in follows), name
        path.write_text(text)


def test_moving_or_renaming_the_file_changes_nothing(tmp_path):
    here = digest_of(tmp_path / "mine.py", VARIANT)
    (tmp_path / "elsewhere").mkdir()
    assert digest_of(tmp_path / "elsewhere" / "mine.py", VARIANT) == here
    assert digest_of(tmp_path / "elsewhere" / "renamed.py", VARIANT) == here


def test_a_package_in_another_place_has_the_same_digest(tmp_path, monkeypatch):
    digests = []
    for place in ("one", "two"):
        with monkeypatch.context() as patch:
            digests.append(package(Site(tmp_path / place, patch), "moved")())
    assert digests[0] == digests[1]


def test_a_module_beside_the_file_counts_and_the_harness_does_not(site):
    path = site.folder / "mine.py"
    site.write("beside.py", "A = 1")
    before = digest_of(path, "import beside\nimport moebench.errors, json\n" + VARIANT)
    site.write("beside.py", "A = 2")
    after = digest_of(path)
    site.write("moebench/__init__.py", "A = 3")
    assert before != after == digest_of(path)


def test_fields_that_newer_versions_of_python_add_change_nothing():
    """Such as the empty type parameters of 3.12."""
    old, new = (ast.parse("def f(x):\n    return x\n") for _ in range(2))
    new.body[0]._fields = (*new.body[0]._fields, "type_params")
    new.body[0].type_params = []
    assert spelling(old) == spelling(new)
    assert spelling(old) == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x')]),body=[Return(value=Name(id='x'))])])"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"def broken(:", "is not valid Python in line 1 (invalid syntax)."),
        (b"x = '\xff'", "is not valid Python"),
        (b"x = 1\0", "is not valid Python"),
    ],
)
def test_a_file_that_is_not_python_is_named(tmp_path, content, reason):
    path = tmp_path / "mine.py"
    path.write_bytes(content)
    with pytest.raises(PluginError) as caught:
        digest_of(path)
    assert str(caught.value).startswith(f"'{path}' {reason}")


def test_a_variant_without_python_source_cannot_be_identified(site):
    (site.folder / "compiled.so").write_bytes(b"")
    site.install("compiled", {"mine": "math:Mine"})
    with pytest.raises(PluginError, match="its source is not a Python file, so its results cannot be identified"):
        code_digest(find_variants()["mine"])


OBJECT = """
import json, sys
import helper_of_objects
from moebench.plugins.objects import object_digest

SCALE = {scale}
class Base:
    def hidden(self, dim): return {{"a", "b", "c"}}
class Module(Base):
    '''{doc}'''
    options = frozenset(["x", "y", "z"])
    def __init__(self, dim): super().__init__(); self.dim = dim * SCALE  # {doc}
    @property
    def wide(self): return self.dim {plus}
class Wrapped:
    def __init__(self, factory, weight): self.factory, self.weight = factory, weight
print(object_digest(Wrapped(lambda dim, hidden: helper_of_objects.work(Module(dim)), {weight})))
"""


def object_digest_of(folder, seed="0", **changes):
    source = OBJECT.format(**{"scale": 2, "doc": "said", "plus": "+ 1", "weight": 0.1} | changes)
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    run = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_an_object_has_the_same_digest_in_every_process_until_its_code_changes(tmp_path):
    helper = tmp_path / "helper_of_objects.py"
    helper.write_text("def work(x):\n    return x\n")
    before = object_digest_of(tmp_path)
    assert len(before) == 20
    assert object_digest_of(tmp_path, seed="1") == before
    assert object_digest_of(tmp_path, doc="said otherwise") == before
    for change in ({"scale": 3}, {"plus": "+ 2"}, {"weight": 0.2}):
        assert object_digest_of(tmp_path, **change) != before, change
    helper.write_text("def work(x):\n    return x + 1\n")
    assert object_digest_of(tmp_path) != before


def test_objects_of_a_module_change_with_it(site):
    """Told by name alone, a record would survive a change of its variant's code."""
    from moebench.plugins.objects import object_digest

    path = site.write("objects_here.py", "class A:\n    def f(self):\n        return 1\n\na = A()\n")
    import objects_here

    before = object_digest(objects_here.a)
    path.write_text(path.read_text().replace("return 1", "return 2"))
    assert object_digest(objects_here.a) != before
    assert object_digest(json.JSONEncoder()) == object_digest(json.JSONEncoder())
    objects_here.a.b = objects_here.a
    assert len(object_digest(objects_here.a)) == 20
