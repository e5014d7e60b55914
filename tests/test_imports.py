"""One direction of imports: what CONTRIBUTING.md says of the folders is what they do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ROOT / "bench" / "moebench"
LEAVES = {"__init__", "__main__", "__version__", "errors", "heap", "machine", "protocol"}
"""Modules beside the folders: what anyone may import, and the doors of the package."""


def order() -> list[str]:
    """Folders in the order of the table."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where things are")[2].partition("\n## ")[0]
    table = table.partition("| step |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    return [name.removesuffix(".py") for row in rows for name in re.findall(r"`([\w.]+?)/?`", row.split("|")[2])]


def names() -> set[str]:
    return {path.stem for path in CODE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()} - LEAVES


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, folder of moebench) of every import that runs; those for types alone do not."""
    tree = ast.parse(path.read_text())
    tests = (node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    for_types = {id(inner) for node in tests for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and id(node) not in for_types
            and (node.module or "").startswith("moebench.")
        ):
            yield node.lineno, str(node.module).split(".")[1]


def test_the_table_names_every_folder() -> None:
    assert sorted(order()) == sorted(names())


@pytest.mark.parametrize("folder", sorted(names()))
def test_a_folder_imports_only_from_those_before_it(folder: str) -> None:
    before = set(order()[: order().index(folder)]) | {folder} | LEAVES
    paths = [CODE / f"{folder}.py"] if (CODE / f"{folder}.py").is_file() else sorted((CODE / folder).rglob("*.py"))
    climbs = [
        f"{path.relative_to(CODE)}:{line} imports {name}"
        for path in paths
        for line, name in imported(path)
        if name not in before
    ]
    assert not climbs


def test_variants_import_the_contract_and_nothing_else_of_moebench() -> None:
    paths = sorted((ROOT / "variants" / "moevariants").rglob("*.py"))
    assert paths
    strange = [
        f"{path.name}:{line} {name}"
        for path in paths
        for line, name in imported(path)
        # What compresses a layer has a contract of its own.
        if name != "contract" and (path.parent.name, name) != ("compressors", "compression")
    ]
    assert not strange


def test_the_contract_imports_nothing_of_moebench() -> None:
    paths = sorted((CODE / "contract").glob("*.py"))
    strange = [f"{path.name}: {name}" for path in paths for _, name in imported(path) if name != "contract"]
    text = "".join(path.read_text() for path in paths)
    assert len(paths) > 3
    assert not strange
    assert not re.findall(r"^\s*import moe|TYPE_CHECKING|moevariants", text, re.MULTILINE)
