"""A column is declared once, and every format has it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from boards import Bench, small_board
from moebench.board import TEXTS, columns, to_table
from moebench.board.columns import COLUMNS, DETAILS, SHOWN, Column
from moebench.measures.scores.shares import SHARES
from moebench.training.routes import WHEN

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
    assert "| training FLOPs | letters of the name |" in markdown
    assert "| - | 8 letters |" in markdown
    assert 'scope="col" data-col="name_length" data-best="low" class="number"' in page
    assert '<td role="cell" class="number" data-col="name_length" data-sort="8">' in page
    assert "<dt>letters</dt><dd>8 of them</dd>" in page
    assert json.loads(TEXTS["json"](board))["entries"][0]["name_length"] == 8
    assert next(csv.DictReader(io.StringIO(TEXTS["csv"](board))))["name_length"] == "8"


def test_every_column_says_what_it_is_under_a_name_of_its_own() -> None:
    assert len({column.key for column in columns.COLUMNS}) == len(columns.COLUMNS)
    assert all(column.help.endswith(".") for column in columns.COLUMNS)


def with_costs(flops: int, seconds: float | None) -> Any:
    """What a run of this code counts beside what the small board's runs do."""
    return lambda fields: (
        fields
        | {
            "counts": fields["counts"] | {"model_flops_per_input": flops, "training_flops": 3 * flops * 10},
            "details": fields.get("details", {}) | ({"train_seconds": seconds} if seconds else {}),
        }
    )


def test_the_costs_of_the_whole_model_and_of_training_are_in_every_format(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], tasks=["digits", "fashion_mnist"])
    bench.fill("dense", (0.90, 0.92, 0.94), change=with_costs(2_000_000, 5.0))
    bench.fill("dense", (0.70, 0.72, 0.74), task="fashion_mnist", change=with_costs(4_000_000, 7.0))
    board = bench.board()
    (entry,) = json.loads(TEXTS["json"](board))["entries"]
    assert entry["training"] == {"flops": 90_000_000, "seconds": 6.0}
    assert entry["model_flops_per_input"] == 3_000_000
    assert entry["tasks"]["digits"]["training"] == {"flops": 60_000_000, "seconds": 5.0}
    assert entry["tasks"]["digits"]["model_flops_per_input"] == 2_000_000
    line = next(csv.DictReader(io.StringIO(TEXTS["csv"](board))))
    assert (line["training_flops"], line["training_seconds"]) == ("90000000", "6.0")
    markdown, page = TEXTS["md"](board), TEXTS["html"](board)
    assert "| parameters, whole model | FLOPs per input, whole model | training FLOPs |" in markdown
    assert re.search(r"\| [\d.]+k \| 3M \| 90M \|\n", markdown)
    assert 'data-col="training" data-sort="90000000"' in page
    assert "<dt>FLOPs per input, whole model</dt><dd>3,000,000</dd>" in page


def test_costs_that_a_record_lacks_are_not_made_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], tasks=["digits", "fashion_mnist"])
    bench.fill("dense", (0.90, 0.92, 0.94), change=with_costs(2_000_000, None))
    bench.fill("dense", (0.70, 0.72, 0.74), task="fashion_mnist")
    (entry,) = json.loads(TEXTS["json"](bench.board()))["entries"]
    assert entry["model_flops_per_input"] is None
    assert entry["training"]["flops"] is None
    assert entry["tasks"]["digits"]["training"]["flops"] == 60_000_000


OF_TOKENS = {
    "expert_information_token": 0.25,
    "saturation_1_2": 0.75,
    "co_activation": None,
    "test_scored_bytes": 12_345,
}


def with_scores(**scores: float | None) -> Any:
    """What a final run on text has beside what the small board's runs have."""
    return lambda fields: fields | {"scores": fields["scores"] | scores}


def test_scores_of_single_tokens_are_details_and_scored_bytes_stand_beside_the_task(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "sparse_topk"])
    bench.fill("dense", (0.90, 0.92, 0.94))
    bench.fill("sparse_topk", (0.90, 0.92, 0.94), change=with_scores(**OF_TOKENS))
    board = bench.board()
    found = json.loads(TEXTS["json"](board))
    of_row = {entry["variant"]: entry for entry in found["entries"]}
    assert of_row["sparse_topk"]["expert_information_token"] == {"value": 0.25, "low": None, "high": None}
    assert of_row["dense"]["saturation_1_2"] is None
    assert found["tasks"]["digits"]["scored_bytes"] == 12_345
    by_row = {line["variant"]: line for line in csv.DictReader(io.StringIO(TEXTS["csv"](board)))}
    assert (by_row["sparse_topk"]["saturation_1_2"], by_row["dense"]["saturation_1_2"]) == ("0.75", "")
    page = TEXTS["html"](board)
    assert "<dt>routes that stay from 1/2 of the steps on</dt><dd>0.750 ±?</dd>" in page
    assert "<dt>expert tells the token id</dt><dd>0.250 ±?</dd>" in page
    assert "digits (23.7 epochs, 12,345 bytes scored)" in to_table(board, 200)
    assert all("12,345 bytes scored" in text for text in (page, TEXTS["md"](board)))
    assert not {"co_activation", "saturation_1_4"} & of_row["sparse_topk"].keys()
    assert "experts in fixed pairs" not in page


def test_scores_of_single_tokens_are_means_over_tasks_that_all_have_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], tasks=["digits", "fashion_mnist"])
    of_both = [{"co_activation": 0.2, "saturation_1_8": 0.5}, {"co_activation": 0.4}]
    for task, scores in zip(("digits", "fashion_mnist"), of_both, strict=True):
        bench.fill("dense", (0.90, 0.92, 0.94), task=task, change=with_scores(**scores))
    (entry,) = bench.board().entries
    assert entry.of_tokens["co_activation"].value == pytest.approx(0.3)
    assert entry.of_tokens.keys() == {"co_activation"}
    assert SHARES == WHEN


def test_a_board_without_them_has_none_of_their_names(tmp_path: Path) -> None:
    board = small_board(tmp_path).board()
    for form in ("json", "csv", "md", "html"):
        assert not re.search("expert_information|saturation_|co_activation|scored|expert tells", TEXTS[form](board))
