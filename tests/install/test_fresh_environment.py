"""A stranger's machine: moebench and a package made by ``moebench new``, installed into a fresh environment."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tiny import write_suite

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees nothing of this one; ``uv`` is how to call uv, empty where there is none."""

    folder: Path
    uv: tuple[str, ...]

    def make(self) -> None:
        venv = (*self.uv, "venv", "-q", "--python", sys.executable) if self.uv else (sys.executable, "-m", "venv")
        run(*venv, str(self.folder), cwd=self.folder.parent)

    def python(self) -> str:
        return str(self.folder / ("Scripts" if os.name == "nt" else "bin") / "python")

    def build(self, source: Path) -> Path:
        """The wheel as users get it, so that a file that is not packaged is missed."""
        target = self.folder.parent / "wheels"
        pip = (self.python(), "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target))
        build = (*self.uv, "build", "-q", "--wheel", "-o", str(target))
        run(*(build if self.uv else pip), str(source), cwd=self.folder.parent)
        (wheel,) = target.glob("*.whl")
        return wheel

    def install(self, *what: str) -> None:
        pip = (*self.uv, "pip", "install", "-p", self.python()) if self.uv else (self.python(), "-m", "pip", "install")
        constraints = ROOT / "constraints.txt"
        pinned = ("-c", str(constraints)) if constraints.is_file() else ()
        run(*pip, "-q", *pinned, *what, cwd=self.folder.parent)

    def call(self, *words: str, cwd: Path) -> str:
        return run(str(Path(self.python()).with_name(words[0])), *words[1:], cwd=cwd)


def run(*command: str, cwd: Path) -> str:
    """The output of a command that must succeed, run where nothing of the checkout can be imported by chance."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env=clean | {"COLUMNS": "120"}, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def find_uv() -> tuple[str, ...]:
    """How to call uv, whose cache makes a second environment cheap; nothing where there is none."""
    if importlib.util.find_spec("uv"):
        return (sys.executable, "-m", "uv")
    return (found,) if (found := shutil.which("uv")) else ()


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh")
    made = Environment(folder / "environment", find_uv())
    made.make()
    made.install(str(made.build(ROOT)), "pytest")
    yield made
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def package(environment):
    """A new package, written by the installed command and installed beside it."""
    folder = environment.folder.parent
    environment.call("moebench", "new", "brand_new", cwd=folder)
    environment.install("-e", str(folder / "brand_new"))
    return folder / "brand_new"


def test_command_works_outside_the_checkout(environment, tmp_path):
    assert "leaderboard" in environment.call("moebench", "--help", cwd=tmp_path)


def test_new_package_is_listed_among_the_variants(environment, package, tmp_path):
    listed = environment.call("moebench", "list", "variants", cwd=tmp_path).split()
    assert {"dense", "soft_moe", "sparse_topk", "brand_new"} <= set(listed)
    assert "usable:" not in listed


def test_new_package_passes_every_check_by_its_name(environment, package, tmp_path):
    said = environment.call("moebench", "check", "brand_new", cwd=tmp_path).split()
    assert said[0] == "brand_new"
    assert said[1] == said[3] != "0"


def test_tests_of_the_new_package_pass(environment, package):
    said = environment.call("python", "-m", "pytest", "-q", "-W", "error", cwd=package)
    assert " passed" in said
    assert "failed" not in said


def test_the_way_from_a_new_package_to_a_checked_publication(environment, package, tmp_path):
    """What docs/submitting.md says, on a suite of a few steps."""
    write_suite(tmp_path)
    environment.call("moebench", "run", "tiny.toml", "--variant", "brand_new", "--no-mlflow", cwd=tmp_path)
    said = environment.call("moebench", "publish", "tiny", cwd=tmp_path).splitlines()
    assert said[0].startswith("2 rows, 9 records: ")
    place = said[0].rpartition(" ")[2]
    checked = environment.call("moebench", "verify", place, "--rerun", "1", cwd=tmp_path)
    assert checked.splitlines()[-1] == f"{place}: 2 rows, 9 records: holds"
    assert "brand_new" in environment.call("moebench", "leaderboard", place, "--format", "md", cwd=tmp_path)
    compared = environment.call("moebench", "compare", "results", place, cwd=tmp_path)
    assert compared.startswith("tiny: 2 identical")
    assert "brand_new" in (tmp_path / place / "submission.json").read_text(), "the package is named with its version"
