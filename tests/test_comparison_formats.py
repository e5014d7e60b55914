"""A comparison in a terminal, as Markdown, and as JSON: whatever rows are called, and however narrow it is."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from boards import BUDGET, Bench, hand_plan, small_board
from comparisons import BEFORE, LOSS, benches, compared, documented, only, pair, shifted
from moebench.board.compare import ORDER, TEXTS, Comparison, to_json, to_markdown, to_table
from moebench.board.numbers import NAMELESS

HOSTILE = [
    "<script>alert(1)</script>",
    "",
    "a|b`c",
    "\u202eevil",
    "@somebody",
    "x" * 300,
    "[x](javascript:y)\x1b[31m\n# big",
    "専門家" * 9,
]

MARKDOWN = """\
### tiny: 1 worse, 1 better

A is `A`, B is `results/b`.

| verdict | row | A | B | B - A | p |
| --- | --- | --- | --- | --- | --- |
| worse | soft_moe | 0.967 ±0.006 | 0.955 ±0.008 | -0.011 ±0.003 | 0.002 |
| better | dense | 0.967 ±0.006 | 0.978 ±0.004 | +0.011 ±0.003 | 0.002 |

- Beside the scores, A and B differ in code (every row).
- B - A is the difference of the test accuracy, higher is better, paired by seed, with its 95 % interval. A row is \
better or worse where p, adjusted by Holm's rule over all rows, is below 0.05.
- Latency is not compared: in both: not measured yet for these rows and versions on cpu (a test's processor).
"""

TABLE = """\
tiny: 1 worse, 1 better
A A   B results/b
verdict  row       A             B             B - A          p
worse    soft_moe  0.967 ±0.006  0.955 ±0.008  -0.011 ±0.003  0.002
better   dense     0.967 ±0.006  0.978 ±0.004  +0.011 ±0.003  0.002
"""


def example(tmp_path: Path) -> Comparison:
    """Holm doubles the p of both, 0.00083."""
    after = {"dense": shifted(*(-each for each in LOSS)), "soft_moe": shifted(*LOSS)}
    found = pair(tmp_path, after, {"dense": BEFORE, "soft_moe": BEFORE})
    return dataclasses.replace(found, a="A", b="results/b")


def wide(tmp_path: Path) -> Comparison:
    """Two budgets, two tasks, latency: every column there is."""
    plan = hand_plan(variants=["dense", "soft_moe"], tasks=["digits", "fashion_mnist"], budgets=[BUDGET, 4 * BUDGET])
    a, b = benches(tmp_path, plan)
    for bench, by in ((a, 0.0), (b, -0.02)):
        for row in plan.suite.variants:
            for task in plan.suite.task_names:
                for budget in plan.suite.budgets:
                    bench.fill(row, (0.9 + by, 0.91 + by * 1.1, 0.93 + by), task=task, budget=budget)
        for task in plan.suite.task_names:
            bench.time({"dense": 1.9, "soft_moe": 1.31 - 20 * by}, task=task)
    return compared(a, b)


def named(tmp_path: Path, name: str) -> Comparison:
    """A row of that name that became worse, and one that is missing for a reason of that text."""
    a, b = benches(tmp_path, hand_plan(variants=["dense", "soft_moe", "sparse_topk"], seeds=5))
    for bench, scores in ((a, BEFORE), (b, shifted(*LOSS))):
        bench.fill("soft_moe", scores)
        bench.fill("sparse_topk", scores)
    cell = b.group("sparse_topk").final_cells(b.store.get)[0]
    b.put(cell, "sparse_topk", status="error", reason=name)
    found = compared(a, b)
    pairs = tuple(dataclasses.replace(p, row=name) if p.row == "soft_moe" else p for p in found.pairs)
    return dataclasses.replace(found, a=f"results/{name}", pairs=pairs)


def test_markdown_for_a_pull_request(tmp_path: Path) -> None:
    assert to_markdown(example(tmp_path)) == MARKDOWN


def test_the_table_of_a_terminal(tmp_path: Path) -> None:
    text = to_table(example(tmp_path))
    assert text.startswith(TABLE)
    assert text.endswith("processor).\n")


def test_the_page_shows_what_the_code_prints(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "compare.md").read_text(encoding="utf-8")
    found = documented(tmp_path)
    assert f"$ moebench compare results-main results\n{to_table(found)}```" in page
    assert f"````markdown\n{to_markdown(found)}````" in page


def test_the_summary_names_every_verdict_in_one_order(tmp_path: Path) -> None:
    found = example(tmp_path)
    pairs = tuple(dataclasses.replace(found.pairs[0], verdict=verdict) for verdict in reversed(ORDER))
    said = "1 worse, 1 better, 1 undecided, 1 identical, 1 not comparable, 1 missing, 1 new, 1 unfinished"
    for text in (to_markdown, to_table):
        assert said in text(dataclasses.replace(found, pairs=pairs))


def test_every_column_that_there_is_and_a_table_of_any_width(tmp_path: Path) -> None:
    found = wide(tmp_path)
    text = to_markdown(found)
    assert (
        "| verdict | row | budget | A | B | B - A | p | digits | fashion_mnist | latency A to B | batch 1 A to B |"
        in text
    )
    assert "| worse | soft_moe | 264,000 | 0.913 ±" in text
    assert "mean over tasks, paired by seed" in text
    assert "Single tasks are shown without adjustment." in text
    for width in (60, 70, 80, 90, 100, 120, 140, 160, 180, 200):
        lines = to_table(found, width).splitlines()
        assert max(map(len, lines)) <= width
        assert any(re.match(r"worse +soft_moe +264,000 .*-0\.021 ±0\.001", line) for line in lines), lines
        assert ("A wider terminal also shows" in " ".join(lines)) == (width < 180)


def test_a_long_name_is_folded_before_a_column_is_lost(tmp_path: Path) -> None:
    found = named(tmp_path, "a_variant_with_quite_a_long_name_indeed_and_more")
    text = to_table(found, 100)
    assert "A wider terminal" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_breaks_no_format(tmp_path: Path, name: str) -> None:
    found = named(tmp_path, name)
    text = to_markdown(found)
    assert not re.search(r"<script|\u202e|\x1b", text.partition("`")[0] + text.partition("B is")[2])
    assert not re.search(r"\u202e|\x1b", text)
    assert text.splitlines()[2].count("`") == 4, "two code spans, and no end of one in a path"
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {7}
    for line in text.splitlines()[3:]:
        assert not re.search(r"(?<!\\)[`\[\]]|^# ", line)
    assert not re.search(r"@\w", re.sub(r"`[^`]*`", "", text)), "outside a code span it calls somebody"
    assert name or f"| worse | {NAMELESS} |" in text

    table = to_table(found)
    assert not re.search(r"\u202e|\x1b", table)
    assert max(map(cell_len, table.splitlines())) <= 100
    assert re.search(r"-0\.011 ±0\.003", table)
    assert not [line for line in table.splitlines() if line.startswith("# big")]

    value = json.loads(to_json(found), parse_constant=pytest.fail)
    row = next(each for each in value["pairs"] if each["verdict"] == "worse")
    assert row["row"] == name
    assert row["difference"]["value"] == only(found, name).difference.value
    assert set(row) == {
        *("row", "budget", "verdict", "a", "b", "difference", "p_value", "seeds", "tasks", "changed", "latency"),
        *("speed", "latency_batch1", "speed_batch1", "reason"),
    }
    assert value["counts"] == {"worse": 1, "missing": 1}


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    bench = small_board(tmp_path / "a")
    other = Bench(tmp_path / "b", bench.plan)
    for record in reversed(list(bench.store.records())):
        other.store.put(record)
    found = [dataclasses.replace(compared(*two), a="a", b="b") for two in ((bench, other), (other, bench))]
    for to_text in TEXTS.values():
        assert to_text(found[0]) == to_text(found[1])
