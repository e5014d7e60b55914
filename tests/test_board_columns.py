"""A column is declared once, and every format has it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from boards import small_board
from moebench.board import TEXTS, columns, to_table
from moebench.board.columns import COLUMNS, DETAILS, SHOWN, Column

NAME_LENGTH = Column(
    key="name_length",
    read=lambda entry: len(entry.variant),
    help="Letters of the row's name.",
    kind="amount",
    title="letters of the name",
    short_title="letters",
    cell=lambda entry: f"{len(entry.variant)} letters",
    best="low",
    detail="letters",
    detail_form="{} of them",
)


def test_a_declared_column_is_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("columns", "data"):
        monkeypatch.setattr(f"moebench.board.{module}.COLUMNS", (*COLUMNS, NAME_LENGTH))
    for module in ("table", "markdown", "page"):
        monkeypatch.setattr(f"moebench.board.{module}.SHOWN", (*SHOWN, NAME_LENGTH))
    monkeypatch.setattr("moebench.board.page.DETAILS", (*DETAILS, NAME_LENGTH))
    board = small_board(tmp_path).board()
    table, page, markdown = to_table(board, 200), TEXTS["html"](board), TEXTS["md"](board)
    assert "  letters\n" in table
    assert "  8 letters\n" in table
    assert "| FLOPs per input | letters of the name |" in markdown
    assert "| 8.45M | 8 letters |" in markdown
    assert '<th role="columnheader" scope="col" data-best="low" class="number">letters of the name</th>' in page
    assert '<td role="cell" class="number" data-sort="8" data-label="letters">' in page
    assert "<dt>letters</dt><dd>8 of them</dd>" in page
    assert json.loads(TEXTS["json"](board))["entries"][0]["name_length"] == 8
    assert next(csv.DictReader(io.StringIO(TEXTS["csv"](board))))["name_length"] == "8"


def test_every_column_says_what_it_is_under_a_name_of_its_own() -> None:
    assert len({column.key for column in columns.COLUMNS}) == len(columns.COLUMNS)
    assert all(column.help.endswith(".") for column in columns.COLUMNS)
