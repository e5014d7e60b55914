"""Published reports say what their records give: each is rendered again, byte for byte."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench.cli.main import cli

PUBLISHED = Path(__file__).parents[1] / "results" / "published"
REPORTS = sorted(path.parent for path in PUBLISHED.rglob("report.html"))
QUICK = ("generalization", "compress", "multitask")
"""Rendered in seconds. The others are made by the same code, and their claims are tested each."""


@pytest.mark.parametrize("name", QUICK)
def test_a_published_report_is_rendered_from_its_records_byte_for_byte(name: str, tmp_path: Path) -> None:
    (published,) = (path for path in REPORTS if path.name == name)
    words = ["report", name, "--packs", str(published), "--to", str(tmp_path)]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert result.exit_code == 0, result.output
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    boards = {path.parent for path in published.glob("*/records.jsonl")}  # beside the report of a ranked suite
    files = [path for path in published.rglob("*") if path.is_file() and path.parent not in boards]
    there = {path.relative_to(published): path.read_bytes() for path in files}
    assert sorted(made) == sorted(there)
    assert [str(path) for path, text in made.items() if there[path] != text] == []
