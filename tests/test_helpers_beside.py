"""What a file imports: modules beside it, kept apart between files, and packages of others, which identify it."""

import json
import pickle
import re
import sys

import pytest
from click.testing import CliRunner

from moebench.cli.main import cli
from moebench.plugins.beside import package_of
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_digest, files_beside, packages_of
from moebench.plugins.load import load_variant
from test_paths_as_they_are import MICRO

LAYER = """
{how}
from moevariants.sparse_topk import SparseTopK


class Mine(SparseTopK):
    name = "{name}"

    def build(self, shape, size, **settings):
        {late}
        assert WHO == "{name}", WHO
        return super().build(shape, size, **settings)
"""
WAYS = {
    "from": ("from helpers import WHO", "pass"),
    "import": ("import helpers\nWHO = helpers.WHO", "pass"),
    "in build": ("", "from helpers import WHO"),
    "of a helper": ("from other import WHO", "pass"),
    "package": ("from pack import WHO", "pass"),
    "submodule": ("import pack.inner\nWHO = pack.inner.WHO", "pass"),
    "relative": ("from pack.outer import WHO", "pass"),
}


def author(tmp_path, name, way="from"):
    """``path.py:Mine`` of an author's folder, with helpers that say whose they are."""
    folder = tmp_path / name
    (folder / "pack").mkdir(parents=True)
    how, late = WAYS[way]
    (folder / "layer.py").write_text(LAYER.format(how=how, late=late, name=name))
    who = f'WHO = "{name}"\n'
    for path, source in {
        "helpers.py": who,
        "other.py": "from helpers import WHO\n",
        "pack/__init__.py": who,
        "pack/inner.py": who,
        "pack/outer.py": "from .inner import WHO\nfrom helpers import WHO as SAME\nassert WHO == SAME\n",
    }.items():
        (folder / path).write_text(source)
    return f"{folder}/layer.py:Mine"


HOLDS = r"(?m)^checks {}  holds (\d+) of \1$"


def built(spec):
    from moebench.contract import LayerShape

    variant, shape = load_variant(find_variant(spec)), LayerShape(dim=16, out_dim=16, tokens=4, depth=1)
    return variant.layer(shape, 8, variant.space(shape).defaults())


@pytest.mark.parametrize("way", WAYS)
def test_two_files_have_a_helper_of_one_name_each(tmp_path, monkeypatch, way):
    specs = [author(tmp_path, name, way) for name in ("alice", "bob")]
    for each in specs:
        assert built(each)
    for folder in ("alice", "bob"):
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    for each in specs[::-1]:
        assert built(each)
    assert "helpers" not in sys.modules


def test_a_changed_helper_is_imported_anew_and_is_another_identity(tmp_path):
    spec = author(tmp_path, "alice")
    before = code_digest(find_variant(spec))
    assert built(spec)
    (tmp_path / "alice" / "helpers.py").write_text('WHO = "eve"\n')
    assert code_digest(find_variant(spec)) != before
    with pytest.raises(AssertionError, match="eve"):
        built(spec)


def test_the_digest_is_the_same_wherever_the_folder_lies_and_whatever_is_on_the_path(tmp_path, monkeypatch):
    one = author(tmp_path / "x", "alice", "package")
    digest = code_digest(find_variant(one))
    assert code_digest(find_variant(author(tmp_path / "y", "alice", "package"))) == digest
    monkeypatch.syspath_prepend(str(tmp_path / "x" / "alice"))
    assert code_digest(find_variant(one)) == digest


def test_what_a_helper_defines_can_be_pickled(tmp_path):
    spec = author(tmp_path, "alice")
    (tmp_path / "alice" / "helpers.py").write_text('WHO = "alice"\n\n\nclass Thing:\n    pass\n')
    load_variant(find_variant(spec))
    thing = sys.modules[f"{package_of(tmp_path / 'alice')}.helpers"].Thing()
    assert type(pickle.loads(pickle.dumps(thing))) is type(thing)


def test_the_standard_library_is_never_taken_from_beside(tmp_path):
    spec = author(tmp_path, "alice")
    (tmp_path / "alice" / "json.py").write_text("raise RuntimeError\n")
    (tmp_path / "alice" / "torch.py").write_text("raise RuntimeError\n")
    layer = tmp_path / "alice" / "layer.py"
    layer.write_text("import json, torch\n" + layer.read_text())
    assert built(spec)


def test_what_is_packed_are_the_modules_that_it_imports_and_the_packages_above(tmp_path):
    assert [*files_beside(find_variant(author(tmp_path, "alice", "relative")))] == [
        "helpers.py",
        "pack/__init__.py",
        "pack/inner.py",
        "pack/outer.py",
    ]
    (tmp_path / "alone.py").write_text("class Mine: pass\n")
    assert files_beside(find_variant(f"{tmp_path}/alone.py:Mine")) == {}


def test_what_is_published_holds_the_helpers_of_two_authors_and_verifies(tmp_path, monkeypatch):
    specs = [author(tmp_path, name, "relative") for name in ("alice", "bob")]
    (tmp_path / "micro.toml").write_text(MICRO)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    ran = ["run", "micro.toml", "--no-mlflow", "--results", "r", "--variant", specs[0]]
    done = runner.invoke(cli, ran)
    assert done.exit_code == 0, done.output
    assert re.search(HOLDS.format("alice"), done.stdout)
    done = runner.invoke(cli, [*ran, "--variant", specs[1], "--no-check"])
    assert re.search(HOLDS.format("alice"), done.stdout), "of the run before"
    assert "checks bob  not checked\n" in done.stdout
    done = runner.invoke(cli, ["publish", "micro.toml", "--results", "r", "--to", "pub"])
    assert done.exit_code == 0
    assert all(re.search(HOLDS.format(name), done.stdout) for name in ("alice", "bob")), done.stdout
    (place,) = (tmp_path / "pub" / "micro").iterdir()
    assert (place / "variants" / "alice" / "pack" / "inner.py").read_text() == 'WHO = "alice"\n'
    for name in ("alice", "bob"):
        (tmp_path / name).rename(tmp_path / f"gone_{name}")
    verified = runner.invoke(cli, ["verify", str(place)]).stdout
    assert "DOES NOT HOLD" not in verified
    assert all(re.search(HOLDS.format(name), verified) for name in ("alice", "bob")), verified
    (place / "variants" / "bob" / "pack" / "inner.py").write_text('WHO = "eve"\n')
    done = runner.invoke(cli, ["verify", str(place)])
    assert "'variants/bob/pack/inner.py' is not the file" in done.output
    assert re.search(HOLDS.format("alice").replace("$", ", says its manifest$"), done.stdout), "nothing was executed"


BLOCK = """
from torch import nn


class Block(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.a, self.b = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.b(self.a(x).relu())
"""
USES = """
from moebench import wrap
from theirlib import Block

mine = wrap(lambda dim, hidden: Block(dim, hidden), name="mine")
"""


def test_a_library_that_a_layer_imports_is_part_of_its_identity(tmp_path, monkeypatch):
    lib = tmp_path / "lib" / "theirlib"
    lib.mkdir(parents=True)
    (lib / "__init__.py").write_text(BLOCK)
    (tmp_path / "mine.py").write_text(USES)
    found = find_variant(f"{tmp_path}/mine.py:mine")
    without = code_digest(found)
    assert packages_of(found) == {}
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    first = code_digest(found)
    assert first != without
    (lib / "__init__.py").write_text(BLOCK.replace("relu", "tanh"))
    second = code_digest(found)
    assert second != first
    info = tmp_path / "lib" / "theirlib-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirlib\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("theirlib\n")
    assert packages_of(found) == {"theirlib": "1.0"}
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirlib\nVersion: 1.1\n")
    assert packages_of(found) == {"theirlib": "1.1"}


LOCAL = {"folder": {"dir_info": {}}, "editable": {"dir_info": {"editable": True}}, "repository": {"vcs_info": {}}}


@pytest.mark.parametrize("way", LOCAL)
def test_a_library_that_was_installed_from_elsewhere_counts_by_its_code(tmp_path, monkeypatch, way):
    lib = tmp_path / "lib" / "theirlib"
    lib.mkdir(parents=True)
    (lib / "__init__.py").write_text(BLOCK)
    info = tmp_path / "lib" / "theirlib-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirlib\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("theirlib\n")
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///lib"} | LOCAL[way]))
    (tmp_path / "mine.py").write_text(USES)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    found = find_variant(f"{tmp_path}/mine.py:mine")
    before = packages_of(found)
    assert before["theirlib"] != "1.0"
    (lib / "__init__.py").write_text(BLOCK.replace("relu", "tanh"))
    assert packages_of(found) != before
    (info / "INSTALLER").write_text("conda\n")
    assert packages_of(found) == {"theirlib": "1.0"}


@pytest.mark.parametrize(
    "how",
    ["from aa.inner import Block", "import aa.inner", "import importlib; aa = importlib.import_module('aa.inner')"],
)
def test_what_a_local_library_imports_is_part_of_the_identity_without_end(tmp_path, monkeypatch, how):
    """The plug-in imports aa, which imports bb, which imports aa."""
    lib = tmp_path / "lib"
    for name, source in {
        "aa/__init__.py": "",
        "aa/inner.py": "from bb import deep\n" + BLOCK,
        "bb/__init__.py": "import aa\n",
        "bb/deep.py": "import importlib\ncc = importlib.import_module('.more', __package__)\n",
        "bb/more.py": "SCALE = 1\n",
        "bb/unused.py": "SCALE = 1\n",
    }.items():
        (lib / name).parent.mkdir(parents=True, exist_ok=True)
        (lib / name).write_text(source)
    (tmp_path / "mine.py").write_text(f"{how}\nmine = aa\n")
    monkeypatch.syspath_prepend(str(lib))
    found = find_variant(f"{tmp_path}/mine.py:mine")
    digests = [code_digest(found)]
    assert [*packages_of(found)] == ["aa", "bb"]
    for changed in ("aa/inner.py", "bb/deep.py", "bb/more.py", "bb/__init__.py"):
        (lib / changed).write_text((lib / changed).read_text() + "MORE = 1\n")
        digests.append(code_digest(found))
    assert len(set(digests)) == 5
    (lib / "bb" / "unused.py").write_text("SCALE = 2\n")
    assert code_digest(found) == digests[-1]


def test_frameworks_are_no_part_of_it_and_neither_is_what_is_imported_for_types_alone(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import json, numpy, torch, timm\nfrom moebench import wrap\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import click\n\nmine = wrap(torch.nn.Linear, name='mine')\n"
    )
    assert packages_of(find_variant(f"{tmp_path}/mine.py:mine")) == {}
    assert packages_of(find_variant("sparse_topk")) == {}
