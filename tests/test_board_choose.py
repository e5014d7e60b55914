"""The engineer's question: who meets the limits, in which order, and how sure is the first place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from boards import Bench, small_board
from moebench.board import Reason, RowLimits, choose
from moebench.board.choose import BudgetChoice, by_speed, how_surely, notes, take
from moebench.cli.main import cli
from moebench.errors import UsageError
from moebench.plans.history import remember
from moebench.suites.request import ask


def choice(bench: Bench, ratio: float | None = None, active: int | None = None) -> BudgetChoice:
    return choose(bench.board().rungs[0], RowLimits(latency_ratio=ratio, active=active), True)


def names(found: BudgetChoice) -> list[str]:
    return [each.entry.variant for each in found.chosen]


def excluded(found: BudgetChoice) -> dict[str, str]:
    return {each.entry.variant: each.reason.code for each in found.excluded}


def restless(row: str, result: dict[str, Any]) -> dict[str, Any]:
    """Half of soft_moe's rounds at 0.9 of the time and half at 1.1: the ratio's interval reaches beyond its median."""
    shaken = [time * (0.9, 1.1)[index % 2] for index, time in enumerate(result["forward_ms"])]
    return result | ({"forward_ms": shaken} if row == "soft_moe" else {})


def restless_bench(root: Path) -> Bench:
    """soft_moe, 0.69 times as slow as dense, somewhere from 0.62 to 0.76."""
    bench = Bench(root, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill("soft_moe", (0.972, 0.970, 0.976))
    bench.time({"dense": 1.9, "soft_moe": 1.31}, change=restless)
    return bench


def test_a_limit_on_latency_leaves_out_what_is_slower_with_its_ratio(tmp_path: Path) -> None:
    found = choice(small_board(tmp_path), ratio=1.0)
    assert names(found) == ["soft_moe", "dense"]
    assert excluded(found) == {
        "sparse_topk": "too_slow",
        "random_router": "too_slow",
    }


def test_a_limit_on_active_parameters_and_both_together(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    assert names(choice(bench, active=66_000)) == ["sparse_topk", "random_router"]
    assert names(choice(bench, ratio=1.0, active=66_000)) == []
    assert notes(choice(bench, ratio=1.0, active=66_000))[0] == (
        "No ranked row meets the limits; the nearest is sparse_topk (1.28x, 66,000 active parameters)."
    )
    assert notes(choice(bench, ratio=0.5))[0] == "No ranked row meets the limits; the nearest is soft_moe (0.69x)."
    assert notes(choice(bench, active=50_000))[0] == (
        "No ranked row meets the limits; the nearest is sparse_topk (66,000 active parameters)."
    )


def test_ranks_are_made_among_those_that_meet_the_limits(tmp_path: Path) -> None:
    """sparse_topk is third of three on the board, and first of one here; a reference row has no rank here either."""
    found = choice(small_board(tmp_path), active=66_000)
    assert [each.rank for each in found.chosen] == [(1, 1), None]


def test_how_sure_the_first_place_is(tmp_path: Path) -> None:
    """dense less soft_moe: -0.0107; variances 1.33e-6 each, standard error 0.000943, t 11.3, df 4, p 0.00035."""
    first, second = choice(small_board(tmp_path), ratio=1.0).chosen
    assert (first.behind, first.p_value) == (None, None)
    assert second.behind is not None
    assert second.behind.value == pytest.approx(-0.010667, abs=1e-6)
    assert second.p_value == pytest.approx(0.00035, abs=1e-5)
    assert notes(choice(small_board(tmp_path), ratio=1.0))[0] == (
        "soft_moe is first: significantly better than every other ranked row that meets the limits."
    )


def test_a_first_place_that_the_seeds_do_not_support_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill("soft_moe", (0.972, 0.970, 0.976))
    bench.time({"dense": 1.9, "soft_moe": 1.31})
    said = notes(choice(bench, ratio=2.0))[0]
    assert said == (
        "soft_moe has the best score that meets the limits; it is significantly better than 0 of 1 others, and does "
        "not differ significantly from dense."
    )


def test_what_may_not_meet_the_limit_after_all_is_marked(tmp_path: Path) -> None:
    bench = restless_bench(tmp_path)
    (unsure,) = choice(bench, ratio=0.71).chosen
    assert unsure.reason == Reason("perhaps_too_slow", place="", bounds="0.62 to 0.76")
    assert "May not meet them: soft_moe (its latency ratio lies in 0.62 to 0.76)." in notes(choice(bench, ratio=0.71))
    (sure,) = choice(bench, ratio=0.8).chosen
    assert sure.reason is None


def test_what_may_meet_the_limit_after_all_is_named_beside_the_first_place(tmp_path: Path) -> None:
    """Its value is beyond the limit, and its interval is not."""
    bench = restless_bench(tmp_path)
    found = choice(bench, ratio=0.65)
    (near, dense) = sorted(found.excluded, key=lambda each: each.sure)
    assert (near.entry.variant, near.sure, dense.sure) == ("soft_moe", False, True)
    assert notes(found)[0] == (
        "No ranked row meets the limits; the nearest is soft_moe (0.69x), which may meet them, too."
    )
    assert (
        "Not, though perhaps they meet them: soft_moe (its latency is 0.69x dense, its interval 0.62 to 0.76)."
    ) in notes(found)
    assert all("may meet" not in note for note in notes(choice(bench, ratio=0.5)))


def test_a_ratio_is_told_from_a_limit_that_it_just_misses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill("soft_moe", (0.972, 0.970, 0.976))
    bench.time({"dense": 2.0, "soft_moe": 2.004})
    assert "Not: soft_moe (its latency is 1.002x dense)." in notes(choice(bench, ratio=1.0))


def two_tasks(root: Path, active: int = 40_000, slow: float = 1.5) -> Bench:
    """soft_moe meets on digits what it may not meet on cifar10."""
    bench = Bench(root, variants=["dense", "soft_moe"], tasks=["digits", "cifar10"])
    for task, count, time in (("digits", 10_000, 1.0), ("cifar10", active, slow)):
        bench.fill("dense", (0.961, 0.972, 0.964), specialization=None, task=task)
        bench.fill(
            "soft_moe",
            (0.972, 0.970, 0.976),
            task=task,
            change=lambda fields, count=count: fields | {"counts": fields["counts"] | {"active_params": count}},
        )
        bench.time({"dense": 2.0, "soft_moe": time}, task=task)
    return bench


def test_limits_hold_on_every_task_and_not_on_their_mean(tmp_path: Path) -> None:
    bench = two_tasks(tmp_path)
    assert names(choice(bench, active=40_000)) == ["soft_moe"]
    large, slow = choice(bench, active=30_000).excluded[0], choice(bench, ratio=0.7).excluded[0]
    assert large.reason == Reason("too_large", active=40_000, place="cifar10")
    assert names(choice(bench, ratio=0.76)) == ["soft_moe"]
    assert (slow.reason.code, slow.reason.facts["place"]) == ("too_slow", "cifar10")


def test_a_row_that_is_not_ranked_for_another_reason_meets_no_limits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill(
        "soft_moe",
        (0.972, 0.970, 0.976),
        change=lambda fields: fields | {"counts": fields["counts"] | {"total_params": 290_000, "budget_error": 0.1}},
    )
    bench.time({"dense": 1.9, "soft_moe": 1.31})
    found = choice(bench, ratio=2.0)
    assert names(found) == ["dense"]
    assert excluded(found)["soft_moe"] == "off_budget"


def test_a_row_without_latency_cannot_meet_a_limit_on_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill("soft_moe", (0.972, 0.970, 0.976))
    found = choice(bench, ratio=2.0)
    assert names(found) == []
    assert excluded(found)["soft_moe"] == "latency_unknown"
    assert names(choice(bench, active=10**6)) == ["soft_moe", "dense"]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results directory whose suite has the hand-made plan."""
    bench = small_board(tmp_path / "r")
    monkeypatch.setattr("moebench.board.files.get_plan", lambda request, results: bench.plan)
    remember(ask("quick").requests[0], tmp_path / "r")
    return tmp_path / "r"


def call(ran: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["leaderboard", "quick", "--results", str(ran), *words], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def test_the_command_line_answers_in_three_formats(ran: Path) -> None:
    table = call(ran, "--max-latency-ratio", "1.0")
    assert "latency at most 1x dense" in table
    assert "Not: sparse_topk (its latency is 1.28x dense), random_router (" in " ".join(table.split())
    assert "| 1 | soft_moe |" in call(ran, "--max-latency-ratio", "1.0", "--format", "md")
    answer = json.loads(call(ran, "--max-latency-ratio", "1.0", "--max-active", "300000", "--format", "json"))
    (found,) = answer["choices"]
    assert [row["variant"] for row in found["chosen"]] == ["soft_moe", "dense"]
    assert found["chosen"][1]["behind_first"]["value"] < 0
    assert (found["max_latency_ratio"], found["max_active"]) == (1.0, 300_000)


def five(root: Path, times: Sequence[float] = (2.0, 1.9, 1.8, 1.2, 0.7)) -> Bench:
    """Five rows that tie; the last is the fastest, the fourth has the fewest active parameters, the first is best."""
    rows = ["dense", "soft_moe", "deepseek", "expert_choice", "block_moe"]
    bench = Bench(root, variants=rows)
    for n, row in enumerate(rows):
        scores = (0.961 - n / 1000, 0.972 - n / 1000, 0.964 - n / 1000)
        active = 10_000 if row == "expert_choice" else 200_000
        bench.fill(
            row,
            scores,
            specialization=None,
            change=lambda fields, active=active: fields | {"counts": fields["counts"] | {"active_params": active}},
        )
    bench.time(dict(zip(rows, times, strict=True)))
    return bench


def test_the_answer_ends_with_the_row_to_take(tmp_path: Path) -> None:
    found = choice(five(tmp_path), ratio=1.0)
    assert take(found) == (
        "Take block_moe: ties with the best, fastest of the five (0.35x); expert_choice (10k, 0.60x) if active "
        "parameters count."
    )
    assert notes(found)[-1] == take(found)
    assert by_speed(found)[0].entry.variant == "block_moe", "the fastest of a tie stands first"
    assert names(found)[0] == "dense", "the best score is what others are compared with"
    assert take(choice(five(tmp_path), ratio=0.5)) == (
        "Take block_moe: the only ranked row that meets the limits (0.35x)."
    )
    assert take(choice(five(tmp_path), ratio=0.1)) == ""


def test_a_row_that_is_significantly_better_is_taken_though_it_is_slower(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    assert take(choice(bench, active=10**6)) == "Take soft_moe: the best score (0.69x)."


def test_what_meets_the_limits_surely_perhaps_and_not(tmp_path: Path) -> None:
    found = choice(restless_bench(tmp_path), ratio=0.71)
    assert how_surely(found) == "Meets the limits surely: no row; perhaps: soft_moe; not: dense."


def test_a_reference_row_is_explained_where_it_stands(tmp_path: Path) -> None:
    found = choice(small_board(tmp_path), active=66_000)
    assert "Reference rows: random_router (frozen random router)." in notes(found)


def test_notes_have_one_line_a_kind(tmp_path: Path) -> None:
    """What the reasons of a kind begin with alike stands once, and rows of one reason stand together."""
    lines = notes(choice(five(tmp_path, (2.0, 2.4, 3.0, 3.6, 3.6)), ratio=1.1))
    assert lines[2:-1] == [
        "Not: soft_moe (its latency is 1.20x dense), deepseek (1.50x dense), expert_choice and block_moe (1.80x dense)."
    ]
    large = notes(choice(five(tmp_path / "again"), active=9_000))
    assert large[2:] == [
        "Not: dense, soft_moe, deepseek and block_moe (it has 200,000 active parameters), expert_choice (10,000 active "
        "parameters)."
    ]


def test_one_budget_of_several_is_shown_alone(ran: Path) -> None:
    assert "264,000" in call(ran, "--budget", "264000")
    with pytest.raises(UsageError) as refused:
        call(ran, "--budget", "5")
    assert refused.value.code == "no-such-budget"


@pytest.mark.parametrize("form", ["html", "csv"])
def test_limits_are_no_page(ran: Path, form: str) -> None:
    with pytest.raises(UsageError, match=f"answered as table, json or md, not as {form}"):
        call(ran, "--max-active", "9", "--format", form)


@pytest.mark.parametrize("ratio", ["nan", "inf"])
def test_a_limit_is_a_number(ran: Path, ratio: str) -> None:
    with pytest.raises(UsageError, match="--max-latency-ratio must be a number"):
        call(ran, "--max-latency-ratio", ratio)


def test_a_limit_may_be_of_one_input(tmp_path: Path) -> None:
    """soft_moe is 0.69 times as slow as dense at batch 64 and 1.84 times at batch 1."""
    rung = small_board(tmp_path).board().rungs[0]
    assert names(choose(rung, RowLimits(latency_ratio=1.0), True)) == ["soft_moe", "dense"]
    found = choose(rung, RowLimits(latency_ratio=1.0, of_one=True), True)
    assert names(found) == ["dense"]
    assert excluded(found)["soft_moe"] == "too_slow"
    assert found.limits.words == "latency at batch 1 at most 1x dense"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--latency-batch", "1"), "batch-alone"),
        (("--latency-batch", "2", "--max-latency-ratio", "1"), "batch-not-measured"),
    ],
)
def test_a_batch_that_was_not_measured_is_refused(ran: Path, options: tuple[str, ...], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        call(ran, *options)
    assert refused.value.code == code


def test_the_command_limits_the_latency_of_one_input(ran: Path) -> None:
    answer = json.loads(call(ran, "--max-latency-ratio", "1.0", "--batch", "1", "--format", "json"))
    assert answer["choices"][0]["latency_batch"] == 1
