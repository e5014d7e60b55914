"""Ranked rows against reference rows: what is significantly better than chance routing, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

from boards import Bench, small_board
from moebench.board import TEXTS, to_table, words
from moebench.board.model import Against

CHANCE = ("random_router", "frozen random router")


def bench_of(root: Path, chance: tuple[float, ...], seeds: int = 3) -> Bench:
    bench = Bench(root, variants=["dense", "soft_moe", "sparse_topk"], references=[CHANCE], seeds=seeds)
    bench.fill("dense", (0.905, 0.922, 0.910), specialization=None)
    bench.fill("soft_moe", (0.972, 0.981, 0.976))
    bench.fill("sparse_topk", (0.935, 0.951, 0.942))
    bench.fill("random_router", chance)
    return bench


def test_each_ranked_row_is_better_worse_or_neither(tmp_path: Path) -> None:
    """Paired differences to 0.936, 0.950, 0.944: soft_moe +0.036, +0.031, +0.032; sparse_topk -0.001, +0.001, -0.002;
    dense -0.031, -0.028, -0.034.
    """
    (found,) = bench_of(tmp_path, (0.936, 0.950, 0.944)).board().rungs[0].against
    assert found == Against(reference="random_router", better=("soft_moe",), worse=("dense",), level=("sparse_topk",))


def test_many_comparisons_are_not_better_by_chance(tmp_path: Path) -> None:
    """t of 3.0 with seven degrees of freedom is p 0.020, and three times that among three rows."""
    bench = Bench(tmp_path, variants=["dense", "soft_moe", "sparse_topk"], references=[CHANCE], seeds=8)
    base = [0.90 + 0.002 * seed for seed in range(8)]
    wobble = (0.0, 0.002, -0.001, 0.003, 0.0015, 0.0, 0.0025, 0.001)
    bench.fill("random_router", base)
    bench.fill("soft_moe", [b + w for b, w in zip(base, wobble, strict=True)])
    for row, sign in (("dense", 1), ("sparse_topk", -1)):
        bench.fill(row, [b + sign * 0.001 * (-1) ** seed for seed, b in enumerate(base)], specialization=None)
    (found,) = bench.board().rungs[0].against
    assert found == Against(reference="random_router", level=("dense", "soft_moe", "sparse_topk"))


def test_a_reference_row_without_a_result_is_compared_with_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"], references=[CHANCE])
    bench.fill("dense", (0.905, 0.922, 0.910), specialization=None)
    bench.fill("soft_moe", (0.972, 0.981, 0.976))
    bench.tune("random_router")
    assert bench.board().rungs[0].against == ()
    assert words.against(bench.board().rungs[0]) == ("Significantly better than dense: soft_moe.",)


def test_a_rank_does_not_hang_on_how_many_reference_rows_there_are(tmp_path: Path) -> None:
    with_them, without = (
        small_board(tmp_path / "a"),
        Bench(tmp_path / "b", variants=["dense", "soft_moe", "sparse_topk"]),
    )
    without.fill("dense", (0.965, 0.967, 0.965), specialization=None)
    without.fill("soft_moe", (0.975, 0.977, 0.977))
    without.fill("sparse_topk", (0.942, 0.944, 0.942))
    ranks = [{e.variant: e.rank for e in bench.board().entries if e.rank} for bench in (with_them, without)]
    assert ranks[0] == ranks[1]


def test_the_first_sentence_names_a_reference_that_beats_the_first_row(tmp_path: Path) -> None:
    """A hash or an oracle; a frozen router is named in what routing is worth."""
    for implementation, said in (("hash_token", True), ("random_router", False)):
        bench = Bench(
            tmp_path / implementation, variants=["dense", "soft_moe", "sparse_topk"], references=[(implementation, "")]
        )
        bench.fill("dense", (0.905, 0.922, 0.910), specialization=None)
        bench.fill("soft_moe", (0.952, 0.961, 0.956))
        bench.fill("sparse_topk", (0.935, 0.951, 0.942))
        bench.fill(implementation, (0.982, 0.991, 0.986))
        board = bench.board()
        found = words.finding(board, board.rungs[0])
        assert (f"significantly worse than the reference {implementation}" in found) == said
        assert f"significantly worse than {'the reference ' if said else ''}{implementation}" in found


def test_every_format_says_it(tmp_path: Path) -> None:
    board = bench_of(tmp_path, (0.936, 0.950, 0.944)).board()
    said = (
        "Significantly better than random_router: soft_moe; significantly worse: dense; "
        "no significant difference: sparse_topk."
    )
    assert words.against(board.rungs[0]) == ("Significantly better than dense: every other ranked row.", said)
    assert said in TEXTS["md"](board)
    assert said in TEXTS["html"](board)
    assert said in to_table(board, 200)
    (found,) = json.loads(TEXTS["json"](board))["against"]
    assert found == {
        "reference": "random_router",
        "better": ["soft_moe"],
        "worse": ["dense"],
        "level": ["sparse_topk"],
    }


def test_where_nothing_or_everything_differs_no_list_is_printed(tmp_path: Path) -> None:
    level = bench_of(tmp_path / "a", (0.80, 0.99, 0.95)).board().rungs[0]
    assert words.against(level)[1:] == (
        "Significantly better than random_router: no ranked row; no significant difference: every ranked row.",
    )
    worst = bench_of(tmp_path / "b", (0.105, 0.120, 0.111)).board().rungs[0]
    assert words.against(worst)[1:] == ("Significantly better than random_router: every ranked row.",)
