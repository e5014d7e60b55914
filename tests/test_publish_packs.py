"""Packs that a hand has changed: read with one sentence, or shown, and never answered with a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from moebench.board import TEXTS
from moebench.cli.main import cli
from moebench.errors import ResultsError
from moebench.publish import pack
from moebench.publish.sources import published_board

PUBLISHED = Path(__file__).parent.parent / "results" / "published" / "protocol-1" / "quick-all"
Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Lines:
    (path,) = PUBLISHED.glob(f"*/{pack.NAME}")
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(lines: Lines, to: Path) -> Path:
    (to / pack.NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return to


def finalists(lines: Lines) -> list[dict[str, Any]]:
    return [each for line in lines[1:] for each in line.get("details", {}).get("finalists", {}).values()]


def no_device(lines: Lines) -> None:
    lines[0]["plan"]["device"] = {}


def a_row_twice(lines: Lines) -> None:
    lines[0]["plan"]["rows"].append(lines[0]["plan"]["rows"][1])


def no_final_seeds(lines: Lines) -> None:
    lines[0]["plan"]["groups"][0]["final_seeds"] = []


def times_that_are_none(lines: Lines) -> None:
    for each in finalists(lines):
        each["forward_ms"] = 5


def a_day_without_a_date(lines: Lines) -> None:
    lines[1]["provenance"]["started"] = "yesterday"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_device, "damaged at line 1: its device lacks name, torch, type"),
        (a_row_twice, "damaged at line 1: two of its rows have one name"),
        (no_final_seeds, "has no trials, or not the 3 final seeds of its suite"),
        (times_that_are_none, "forward_ms"),
        (a_day_without_a_date, "'yesterday' is no time as ISO 8601 writes it"),
    ],
)
def test_what_no_reader_could_use_is_one_sentence(
    lines: Lines, tmp_path: Path, spoil: Callable[[Lines], None], says: str
) -> None:
    spoil(lines)
    directory = written(lines, tmp_path)
    with pytest.raises(ResultsError, match=says) as caught:
        published_board(directory)
    assert "\n" not in str(caught.value)
    ran = CliRunner().invoke(cli, ["leaderboard", str(directory)], standalone_mode=False)
    assert isinstance(ran.exception, ResultsError)


def test_a_score_that_no_record_has_is_a_dash(lines: Lines, tmp_path: Path) -> None:
    for line in lines[1:]:
        for part in ("scores", "reasons"):
            line[part].pop("accuracy_no_experts", None)
    board = published_board(written(lines, tmp_path))
    assert "of none -" in TEXTS["html"](board)


def test_a_name_too_long_for_the_file_system_is_no_suite() -> None:
    ran = CliRunner().invoke(cli, ["leaderboard", "a" * 300], standalone_mode=False)
    assert "unknown suite" in str(ran.exception)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('{"low": 0.12449677071672545, "rank": 1}', True),
        ('{"low": 0.12449677071672546, "rank": 1}', True),
        ('{"low": 0.12449677171672545, "rank": 1}', False),
        ('{"low": 0.12449677071672545, "rank": 2}', False),
        ('{"low": 0.1245, "rank": 1}', False),
    ],
)
def test_boards_may_differ_by_rounding_and_by_nothing_else(other, same):
    """Sums of float64 end in other digits on another processor."""
    from moebench.publish.checks import _same

    assert _same(b'{"low": 0.12449677071672545, "rank": 1}', other.encode()) == same
