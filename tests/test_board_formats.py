"""The same board as table, JSON, Markdown, CSV and page."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from boards import BUDGET, Bench, hostile_board, renamed, small_board
from moebench.board import TEXTS, to_table
from moebench.board.build import build_board
from moebench.board.markdown import escape
from moebench.board.model import Board, Estimate
from moebench.board.numbers import fixed, milliseconds, short
from moebench.records import Record
from moebench.tasks.base import UNKNOWN_DATA

WIDE = """\
tiny  protocol 1  digits (23.7 epochs)  264,000 parameters in the expert layers (total)  cpu (a
test's processor)
3 seeds, 4 trials (random)  ranked by test accuracy  ± 95% interval over training seeds
rank  variant        accuracy     vs dense      selection        batch 64          batch 1  active
1     soft_moe       0.976±0.003  +0.011±0.003  0.18±0.05  1.32ms (0.69x)  0.441ms (1.84x)    264k
2     dense          0.966±0.003  -             -          1.92ms (1.00x)   0.24ms (1.00x)    264k
3     sparse_topk    0.943±0.003  -0.023±0.003  0.25±0.05  2.46ms (1.28x)  0.821ms (3.42x)     66k
-     random_router  0.913±0.003  -0.053±0.003  0.08±0.02  2.43ms (1.26x)  0.811ms (3.36x)     66k
A wider terminal also shows: experts, specialization, FLOPs.
random_router  reference row: frozen random router.
The printed ranks survive 100 % of resampled tunings.
Significantly better than dense: soft_moe; significantly worse: sparse_topk.
Significantly better than random_router: every ranked row.
Specialization is selection gain over expert gain. It is compared among rows of as many experts, as
many a token, and no part that always acts: sparse_topk, random_router (8 experts, 2 a token).
Latency: whole-model forward pass at batch 64 and at batch 1, of trained models; median over the
rounds of a session in which all rows took turns; the ratio to dense is taken inside each round.
Intervals of latency show how the rounds of that session scatter; another session may differ by
more.
3 seeds: rows whose ranks do not overlap differ significantly; `--seeds 8` finds more differences.
"""
NARROW = """\
tiny  protocol 1  digits (23.7 epochs)  264,000 parameters in the expert layers
(total)  cpu (a test's processor)
3 seeds, 4 trials (random)  ranked by test accuracy  ± 95% interval over
training seeds
rank  variant        accuracy     vs dense            batch 64          batch 1
1     soft_moe       0.976±0.003  +0.011±0.003  1.32ms (0.69x)  0.441ms (1.84x)
2     dense          0.966±0.003  -             1.92ms (1.00x)   0.24ms (1.00x)
3     sparse_topk    0.943±0.003  -0.023±0.003  2.46ms (1.28x)  0.821ms (3.42x)
-     random_router  0.913±0.003  -0.053±0.003  2.43ms (1.26x)  0.811ms (3.36x)
A wider terminal also shows: selection, experts, specialization, active, FLOPs.
random_router  reference row: frozen random router.
The printed ranks survive 100 % of resampled tunings.
Significantly better than dense: soft_moe; significantly worse: sparse_topk.
Significantly better than random_router: every ranked row.
Specialization is selection gain over expert gain. It is compared among rows of
as many experts, as many a token, and no part that always acts: sparse_topk,
random_router (8 experts, 2 a token).
Latency: whole-model forward pass at batch 64 and at batch 1, of trained models;
median over the rounds of a session in which all rows took turns; the ratio to
dense is taken inside each round. Intervals of latency show how the rounds of
that session scatter; another session may differ by more.
3 seeds: rows whose ranks do not overlap differ significantly; `--seeds 8` finds
more differences.
"""
TOP = {"suite", "protocol", "axis", "budget", "device", "entries"}
ENTRY = {
    *("variant", "total_params", "model_params", "active_params", "flops_per_input", "seeds", "trials", "rank"),
    *("vs_dense", "tasks", "representation", "specialization", "latency", "model_flops_per_input", "training"),
}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return small_board(tmp_path_factory.mktemp("board")).board()


@pytest.fixture(scope="module")
def text(board: Board) -> str:
    """Of the page."""
    return TEXTS["html"](board)


def test_the_table_at_100_columns(board: Board) -> None:
    assert to_table(board, 100) == WIDE


def test_the_table_at_80_columns_drops_columns_and_breaks_no_number(board: Board) -> None:
    assert to_table(board, 80) == NARROW


@pytest.mark.parametrize("width", [34, 40, 45, 50, 65, 80, 100, 120])
def test_the_table_fits_and_keeps_its_numbers_whole_at_any_width(board: Board, width: int) -> None:
    lines = to_table(board, width).splitlines()
    assert max(map(len, lines)) <= width
    versus = r" +\+0\.011 ?±0\.003" if width > 45 else ""
    assert any(re.match(rf"1 +soft_moe +0\.976 ?±0\.003{versus}( |$)", line) for line in lines)


def test_a_long_name_is_folded_before_a_column_is_lost(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    name = "a_variant_with_quite_a_long_name_indeed"
    text = to_table(build_board(renamed(bench, "soft_moe", name), bench.store.get), 100)
    assert "active" in text
    assert max(map(len, text.splitlines())) <= 100
    first, second = [line[6:].split()[0] for line in text.splitlines()[4:6]]
    assert first + second == name


def test_the_table_shows_each_task_beside_their_mean(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], tasks=["digits", "fashion_mnist"])
    bench.fill("dense", (0.90, 0.92, 0.94))
    bench.fill("dense", (0.70, 0.72, 0.74), task="fashion_mnist")
    text = to_table(bench.board())
    assert "1     dense    0.820±0.023" in text
    assert "dense    0.920 ±0.050  0.720 ±0.050" in text
    assert "Scores and counts are means over tasks" in text


def test_the_table_of_a_ladder_has_a_part_for_each_budget(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], budgets=[BUDGET, 4 * BUDGET])
    bench.fill("dense", (0.90, 0.92, 0.94))
    text = to_table(bench.board())
    assert "264,000 parameters" in text
    assert "1,056,000 parameters" in text
    assert "dense  not run yet." in text


def test_the_table_says_that_one_seed_has_no_interval(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], seeds=1)
    bench.fill("dense", (0.90,))
    text = to_table(bench.board())
    assert re.search(r"1     dense    0.900 ?±\? +-", text)
    assert "One seed has no interval" in text


def test_json_has_the_shape_that_scripts_rely_on(board: Board) -> None:
    value = json.loads(TEXTS["json"](board))
    assert set(value) >= TOP
    assert (value["suite"], value["protocol"], value["axis"], value["budget"]) == ("tiny", "1", "total", BUDGET)
    for entry in value["entries"]:
        assert set(entry) >= ENTRY
        for name in ("representation", "specialization", "latency", "vs_dense"):
            _is_measure(entry[name], entry[f"{name}_reason"], unit=True)
        assert set(entry["latency"]["ratio_to_dense"]) >= {"value", "low", "high"}
        assert (entry["rank"] is None) == (entry["reason"] is not None)
        for task in entry["tasks"].values():
            assert set(task) >= {"value", "low", "high", "unit", "higher_is_better", "status"}
    first = value["entries"][0]
    assert (first["variant"], first["rank"], first["seeds"], first["trials"]) == ("soft_moe", [1, 1], 3, 4)
    assert first["latency"]["unit"] == "ms"
    assert 0 < first["representation"]["value"] < 1
    assert value["entries"][-1]["reason"] == "reference row: frozen random router."


def _is_measure(value: Any, reason: str | None, *, unit: bool) -> None:
    if value is None:
        assert reason
    else:
        assert reason is None
        assert set(value) >= {"value", "low", "high"} | ({"unit"} if unit else set())


def test_json_puts_further_budgets_under_ladder(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], budgets=[BUDGET, 4 * BUDGET, 16 * BUDGET])
    value = json.loads(TEXTS["json"](bench.board()))
    assert value["budget"] == BUDGET
    assert [rung["budget"] for rung in value["ladder"]] == [4 * BUDGET, 16 * BUDGET]
    assert all(rung["entries"][0]["variant"] == "dense" for rung in value["ladder"])


def test_json_keeps_full_precision(board: Board) -> None:
    value = json.loads(TEXTS["json"](board))["entries"][0]
    assert value["representation"]["value"] == (0.975 + 0.977 + 0.977) / 3


def test_json_has_no_nan(board: Board) -> None:
    entry = dataclasses.replace(board.entries[0], representation=Estimate(float("nan"), float("-inf"), 1.0, "share"))
    broken = dataclasses.replace(board, rungs=(dataclasses.replace(board.rungs[0], entries=(entry,)),))
    value = json.loads(TEXTS["json"](broken), parse_constant=pytest.fail)
    assert value["entries"][0]["representation"] == {"value": None, "low": None, "high": 1.0, "unit": "share"}


def test_csv_has_a_line_for_each_row_of_each_budget(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"], budgets=[BUDGET, 4 * BUDGET])
    bench.fill("dense", (0.90, 0.92, 0.94))
    lines = list(csv.DictReader(io.StringIO(TEXTS["csv"](bench.board()))))
    assert [(line["budget"], line["variant"]) for line in lines] == [
        ("264000", "dense"),
        ("264000", "soft_moe"),
        ("1056000", "dense"),
        ("1056000", "soft_moe"),
    ]
    assert float(lines[0]["representation"]) == pytest.approx(0.92)
    assert (lines[0]["rank_low"], lines[0]["digits_status"]) == ("1", "done")
    assert (lines[1]["rank_low"], lines[1]["reason"]) == ("", "not run yet.")


def test_csv_says_where_data_are_not_those_of_the_task(tmp_path: Path) -> None:
    board = small_board(tmp_path).board()
    assert "tasks" not in next(csv.DictReader(io.StringIO(TEXTS["csv"](board))))
    label = f"{UNKNOWN_DATA}Digits"
    unknown = dataclasses.replace(board, tasks=[dataclasses.replace(board.tasks[0], label=label)])
    assert {line["tasks"] for line in csv.DictReader(io.StringIO(TEXTS["csv"](unknown)))} == {label}
    assert label in to_table(unknown).splitlines()[0]


def test_markdown_is_a_table_with_the_rule_and_what_was_held_equal(board: Board) -> None:
    text = TEXTS["md"](board)
    assert (
        "| 1 | soft_moe | 0.976 ±0.003 | +0.011 ±0.003 | 0.124 ±0.003 | 0.18 ±0.05 | 0.83 ±0.00 | - | 1.32 ms (0.69x) |"
        in text
    )
    assert " | 1.32 ms (0.69x) | 0.441 ms (1.84x) | 264k | 8.45M |" in text
    assert "Rank is by the score alone" in text
    assert "- training: 400 steps of batch 64" in text
    assert "- **random_router**: reference row: frozen random router." in text


def test_markdown_groups_remarks_as_the_terminal_does(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe", "sparse_topk"])
    bench.fill("dense", (0.90, 0.92, 0.94))
    assert "- **soft_moe, sparse_topk**: not run yet.\n" in TEXTS["md"](bench.board())


def test_markdown_shows_hostile_names_as_they_are(tmp_path: Path) -> None:
    text = TEXTS["md"](hostile_board(tmp_path))
    assert "<script" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "alert" in line]
    assert rows
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 16
        assert not re.search(r"(?<!\\)[`\[\]]", row)
    assert not [line for line in text.splitlines() if line.startswith("# big")]
    assert "@" in text
    assert not re.search(r"@\w", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mu_moe_cp", "mu_moe_cp"),
        ("Mine.__init__() got", r"Mine.\_\_init\_\_() got"),
        ("_a_ b", r"\_a\_ b"),
        ("$x$", r"\$x\$"),
        ("#12 and # 12", "#\u206012 and # 12"),
        ("https://a.b www.c.d", "https:\u2060//a.b www\u2060.c.d"),
    ],
)
def test_markdown_makes_nothing_of_a_text_but_the_text(text: str, shown: str) -> None:
    assert escape(text) == shown


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_cannot_be_injected_into(tmp_path: Path) -> None:
    page = Page(TEXTS["html"](hostile_board(tmp_path)))
    assert len(page.all("script")) == 1, "the page's own"
    assert "alert(1)" in page.text
    assert "\x1b" not in page.text
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_the_page_needs_nothing_from_anywhere(text: str) -> None:
    page = Page(text)
    assert [link["href"] for link in page.all("link")] == ["data:,"], "an icon that nobody asks a server for"
    assert not page.all("img")
    assert not [a for tag in ("script", "iframe", "object") for a in page.all(tag) if a]
    assert "@import" not in text
    assert set(re.findall(r"url\(([^)]{5})", text)) <= {"#scat", "#batc", "#rete", "#effo", "#trai"}, (
        "clip paths of the drawings"
    )
    links = [a for a in page.all("a") if a.get("class") == "source"]
    assert {a["href"] for a in links} == {
        *("https://arxiv.org/abs/2308.00951", "https://arxiv.org/abs/1701.06538"),
        "https://github.com/google-research/vmoe",
    }, "followed only by a reader"
    assert {a["rel"] for a in links} == {"noreferrer"}
    assert all(str(a["href"]).startswith("#row-") for a in page.all("a") if a not in links)


def test_the_browser_runs_the_pages_own_script_and_no_other(text: str) -> None:
    script = text[text.index("<script>") + 8 : text.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(m["content"] for m in Page(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


def test_the_pages_table_can_be_read_by_ear(text: str) -> None:
    page = Page(text)
    assert page.all("caption")
    assert all(th.get("scope") in {"col", "row", "rowgroup"} for th in page.all("th"))
    drawings = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true"]
    assert drawings
    assert all(svg.get("role") in {"img", "group"} and svg.get("aria-label") for svg in drawings)
    assert page.all("html")[0]["lang"] == "en"


def test_the_page_says_what_was_found_then_what_is_equal_then_the_table_then_the_rule(text: str) -> None:
    page, text = Page(text), Page(text).text
    parts = (
        "On digits at 264k parameters soft_moe has",
        "Held equal: ",
        "Reference rows, not ranked",
        "Rank is by the",
    )
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "0.973 to 0.979" in {each.get("title") for each in page.all("span")}
    assert "±0.003" in text
    for part in ("Reference rows, not ranked", "frozen random router", "no experts", "0.940, 0.947, 0.950", "0.69x"):
        assert part in text


def test_every_row_of_the_page_links_to_its_own_details(tmp_path: Path) -> None:
    bench = small_board(tmp_path, budgets=[BUDGET, 4 * BUDGET])
    page = Page(TEXTS["html"](bench.board()))
    targets = [details["id"] for details in page.all("details") if details.get("id")]
    assert len(targets) == len(set(targets)) == 8
    links = [str(a["href"]) for a in page.all("a") if str(a["href"]).startswith("#row-")]
    assert set(links) == {f"#{target}" for target in targets}
    assert len(links) == 16, "one for each in its table, and one at each point of both drawings"


def test_the_page_gives_the_reason_of_a_row_without_results(tmp_path: Path) -> None:
    bench = Bench(tmp_path, problems={"soft_moe": "variant 'soft_moe' cannot be imported."})
    bench.fill("dense", (0.95, 0.97, 0.96))
    text = Page(TEXTS["html"](bench.board())).text
    assert "Not ranked" in text
    assert "variant 'soft_moe' cannot be imported." in text


ODD_NAMES = (" ", "ab" * 200, "\u202eeom_tfos", "a|b`c*[d](e)", "🧪" * 9, '"><img src=x>', "a\nb\x00")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_no_name_breaks_a_format(tmp_path: Path, name: str) -> None:
    bench = small_board(tmp_path)
    board = build_board(renamed(bench, "soft_moe", name), bench.store.get)
    table = [line for line in TEXTS["md"](board).splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table] == [16] * 6, "fifteen cells a line"
    assert len(list(csv.DictReader(io.StringIO(TEXTS["csv"](board))))) == 4
    assert json.loads(TEXTS["json"](board))["entries"][0]["variant"] == name
    assert all(cell_len(line) <= 100 for line in to_table(board, 100).splitlines())
    assert "\x1b" not in to_table(board)
    page = Page(TEXTS["html"](board))
    assert not page.all("img")
    assert len([details for details in page.all("details") if details.get("id")]) == 4
    shown = "".join(char if char.isprintable() else " " for char in name).strip() or "(no name)"
    assert shown in page.text
    assert "\u202e" not in TEXTS["html"](board), "nothing turns the text beside it around"


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    """Scores, settings and versions in another order and another order of asking: nothing changes."""
    bench = small_board(tmp_path)

    def shuffled(identity: str) -> Record | None:
        record = bench.store.get(identity)
        if record is None:
            return None
        provenance = record.provenance | {"machine": "another"}
        provenance["versions"] = dict(reversed(provenance["versions"].items()))
        return record.model_copy(update={"scores": dict(reversed(record.scores.items())), "provenance": provenance})

    one, other = bench.board(), build_board(bench.plan, shuffled)
    for render in (*TEXTS.values(), to_table):
        assert render(other) == render(one)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (fixed(-0.0001), "0.000"),
        (fixed(0.0001, sign=True), "0.000"),
        (fixed(-0.0006), "-0.001"),
        (fixed(None), "-"),
        (short(999), "999"),
        (short(999_900), "1M"),
        (short(264_320), "264k"),
        (short(8_448_000), "8.45M"),
        (milliseconds(0.01234), "0.0123 ms"),
        (milliseconds(1234.4), "1,234 ms"),
    ],
)
def test_numbers_are_rounded_for_people(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize("name", ['=HYPERLINK("http://x","y")', "+1", "-2+3", "@SUM(A1)"])
def test_no_name_is_a_formula_in_a_spreadsheet(board: Board, name: str) -> None:
    first, *others = board.entries
    rung = dataclasses.replace(board.rungs[0], entries=(dataclasses.replace(first, variant=name), *others))
    text = TEXTS["csv"](dataclasses.replace(board, rungs=(rung,)))
    assert next(csv.DictReader(io.StringIO(text)))["variant"] == f"'{name}"
