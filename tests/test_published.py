"""Publishing a real small run, reading it, checking it, and running some of it again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from boards import small_board
from moebench import load_board
from moebench.board.formats import TEXTS
from moebench.cli.main import cli
from moebench.errors import ResultsError, UsageError
from moebench.published import manifest, pack
from moebench.published.boards import board_of
from moebench.published.checks import CHECKS
from moebench.published.index import to_markdown, write_index
from moebench.published.rerun import chosen, rerun, verification
from moebench.published.reuse import reuse
from moebench.published.sources import open_results
from moebench.published.submission import Submission
from moebench.published.write import publish
from moebench.runs import Store
from moebench.runs.canonical import digest
from tiny import run_tiny, write_plugin, write_suite

Value = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite run for real with a variant from a file, in ``r``, and published to ``p``."""
    root = tmp_path_factory.mktemp("published")
    suite = write_suite(root)
    session = run_tiny(suite, root / "r", variants=())
    session = run_tiny(suite, root / "r", variants=(write_plugin(root, "mine"),))
    assert not session.unfinished
    publish(open_results(root / "r", "tiny"), root / "p")
    return root


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """A copy of the published directory that a test may spoil."""
    (source,) = (world / "p" / "tiny").iterdir()
    return Path(shutil.copytree(source, tmp_path / "p" / "tiny" / source.name))


def findings(directory: Path, *names: str) -> dict[str, list[str]]:
    submission = Submission.read(directory)
    found = {name: list(CHECKS[name][1](submission)) for name in (names or CHECKS)}
    return {name: sentences for name, sentences in found.items() if sentences}


def damage(directory: Path) -> str:
    """What is said where the directory cannot even be read."""
    try:
        Submission.read(directory)
    except ResultsError as error:
        return str(error)
    return ""


def lines_of(directory: Path) -> list[Value]:
    return [json.loads(line) for line in (directory / pack.NAME).read_text().splitlines()]


def write_lines(directory: Path, lines: list[Value]) -> None:
    """Write them as a forger would who knows everything but how to train: order, count, digest and boards follow."""
    head, *records = lines
    head["records"] = len(records)
    records.sort(key=lambda record: record["identity"])
    text = "".join(pack.to_line(value) + "\n" for value in (head, *records))
    (directory / pack.NAME).write_text(text)
    about = json.loads((directory / manifest.NAME).read_text())
    about["sha256"][pack.NAME] = manifest.sha256(text.encode())
    about["records"] = len(records)
    (directory / manifest.NAME).write_text(json.dumps(about, indent=1) + "\n")
    try:
        board = board_of(open_results(directory))
    except Exception:
        return  # the edit is such that no board comes of it
    for suffix, render in TEXTS.items():
        (directory / f"board.{suffix}").write_text(render(board))


def records_of(lines: list[Value], kind: str, row: str = "soft_moe") -> list[Value]:
    found = [line for line in lines[1:] if line["cell"]["kind"] == kind]
    return [line for line in found if kind == "latency" or line["provenance"]["row"] == row]


def test_an_honest_publication_holds(world: Path, copy: Path) -> None:
    assert findings(copy) == {}
    assert sorted(path.name for path in copy.iterdir()) == [
        "board.csv",
        "board.html",
        "board.json",
        "board.md",
        "records.jsonl",
        "submission.json",
        "variants",
    ]
    text = "".join(path.read_text() for path in copy.rglob("*.json*"))
    assert str(world) not in text, "nothing says where it was made"


def test_its_board_is_the_one_of_the_run(world: Path, copy: Path) -> None:
    assert (copy / "board.json").read_text() == TEXTS["json"](load_board(copy))
    ours, theirs = (TEXTS["json"](load_board("tiny", world / "r")), TEXTS["json"](load_board(copy)))
    assert json.loads(ours)["entries"] == json.loads(theirs)["entries"]


def test_publishing_twice_gives_the_same_bytes(world: Path, copy: Path, tmp_path: Path) -> None:
    done = publish(open_results(world / "r"), tmp_path / "again")
    for path in copy.rglob("*"):
        if path.is_file():
            assert (done.directory / path.relative_to(copy)).read_bytes() == path.read_bytes()


def test_a_row_that_is_not_complete_is_left_out_with_the_reason(world: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(world / "r", tmp_path / "r"))
    plan = open_results(results).plan
    store = Store(results)
    for group in plan.groups_of("mine"):
        store.record_path(group.trial_cells[0].identity).unlink()
    done = publish(open_results(results), tmp_path / "p")
    ((name, reason),) = done.left_out
    assert name == "mine"
    assert reason == "incomplete, 3 of 4 runs have no result: not run yet: trial 0, final 0, final 1."
    assert findings(done.directory) == {}, "dense and soft_moe were timed together before mine came"
    for record in store.records():
        if record.cell["kind"] == "latency" and len(record.cell["session"]["finalists"]) == 2:
            store.record_path(record.identity).unlink()
    with pytest.raises(ResultsError, match="latency on 'digits' was not measured for exactly the rows"):
        publish(open_results(results), tmp_path / "p")
    for group in plan.groups_of("dense"):
        store.record_path(group.trial_cells[0].identity).unlink()
    with pytest.raises(ResultsError, match="'dense' cannot be published"):
        publish(open_results(results), tmp_path / "p")


# What a careless hand changes: every file keeps its name, and one place in it another value.


FILES = ("records.jsonl", "board.json", "board.md", "board.html", "board.csv", "variants/mine.py")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", FILES)
def test_a_changed_character_in_any_file_is_found(copy: Path, name: str, share: float) -> None:
    path = copy / name
    text = path.read_text()
    place = next(i for i in range(int(share * len(text)), len(text)) if text[i].isalnum())
    path.write_text(f"{text[:place]}{'7' if text[place] != '7' else '8'}{text[place + 1 :]}")
    assert damage(copy) or findings(copy, "files", "boards")


def test_a_file_too_many_and_one_too_few_are_found(copy: Path) -> None:
    (copy / "weights.bin").write_bytes(b"x")
    (copy / "board.csv").unlink()
    found = findings(copy, "files", "boards")
    assert found["files"] == ["weights.bin does not belong in a published directory."]
    assert found["boards"] == ["board.csv is missing."]


@pytest.mark.parametrize("field", ["suite", "protocol", "device", "records", "command", "packages", "submission"])
def test_a_manifest_that_says_otherwise_is_found(copy: Path, field: str) -> None:
    about = json.loads((copy / manifest.NAME).read_text())
    about[field] = {"records": 7, "packages": {"dense": "moebench 0.1.0"}, "submission": 2}.get(field, "another")
    (copy / manifest.NAME).write_text(json.dumps(about))
    assert field in str(findings(copy, "files")["files"]) or "version 2" in str(findings(copy, "files"))


# What a clever hand changes: digests, order and boards are made again, so that only the content can give it away.


def change_count(lines: list[Value]) -> None:
    for record in records_of(lines, "final"):
        record["counts"]["active_params"] //= 2


def change_budget(lines: list[Value]) -> None:
    for record in records_of(lines, "final"):
        record["counts"]["total_params"] = 20_000
        record["counts"]["budget_error"] = 0.0


def change_flops(lines: list[Value]) -> None:
    records_of(lines, "trial")[0]["counts"]["flops_per_input"] -= 64


def change_accuracy(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["scores"]["test_accuracy"] += 0.1


def change_retained(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["scores"]["retained_1_8"] += 0.01


def change_range(lines: list[Value]) -> None:
    records_of(lines, "final", "dense")[0]["scores"]["test_accuracy"] = 1.25


def change_speed(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["details"]["inputs_per_second"] *= 3


def drop_reason(lines: list[Value]) -> None:
    records_of(lines, "final", "dense")[0]["reasons"] = {}


def drop_seed(lines: list[Value]) -> None:
    worst = min(records_of(lines, "final"), key=lambda record: record["scores"]["test_accuracy"])
    lines.remove(worst)
    for group in lines[0]["plan"]["groups"]:
        group["final_seeds"] = [seed for seed in group["final_seeds"] if seed != worst["cell"]["seed"]]
    lines[0]["plan"]["suite"]["seeds"] -= 1


def drop_trial(lines: list[Value]) -> None:
    lines.remove(records_of(lines, "trial")[0])


def add_run(lines: list[Value]) -> None:
    record = json.loads(json.dumps(records_of(lines, "final")[0]))
    record["cell"]["seed"] += 1
    record["identity"] = digest(record["cell"])
    lines.append(record)


def other_winner(lines: list[Value]) -> None:
    trials = records_of(lines, "trial")
    first, second = (trial["scores"] for trial in trials)
    for name in first:
        first[name], second[name] = second[name], first[name]


def more_steps(lines: list[Value]) -> None:
    for record in records_of(lines, "final"):
        record["cell"]["steps"] *= 2
        record["identity"] = digest(record["cell"])


def other_seed(lines: list[Value]) -> None:
    for group in lines[0]["plan"]["groups"]:
        group["final_seeds"][0] += 1
    for record in [line for line in lines[1:] if line["cell"]["kind"] == "final"]:
        record["cell"]["seed"] += 1
        record["identity"] = digest(record["cell"])


def other_code(lines: list[Value]) -> None:
    for row in lines[0]["plan"]["rows"]:
        row["code_digest"] = "0" * 20


def other_space(lines: list[Value]) -> None:
    for group in lines[0]["plan"]["groups"]:
        group["space"]["lr"]["high"] *= 2


def other_protocol(lines: list[Value]) -> None:
    lines[0]["plan"]["protocol"] = "0"


def other_row(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["provenance"]["row"] = "dense"


def no_result(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["status"] = "oom"


def fewer_rounds(lines: list[Value]) -> None:
    for measured in records_of(lines, "latency")[0]["details"]["finalists"].values():
        measured["forward_ms"] = measured["forward_ms"][:3]


def no_latency(lines: list[Value]) -> None:
    lines.remove(records_of(lines, "latency")[0])


def other_device(lines: list[Value]) -> None:
    records_of(lines, "latency")[0]["provenance"]["device"] = "a faster one"


def new_field(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["cell"]["bonus"] = 1
    record = records_of(lines, "final")[0]
    record["identity"] = digest(record["cell"])


EDITS = (
    (change_count, "counts"),
    (change_budget, "counts"),
    (change_flops, "counts"),
    (change_accuracy, "scores"),
    (change_retained, "scores"),
    (change_range, "scores"),
    (change_speed, "scores"),
    (drop_reason, "scores"),
    (drop_seed, "plan"),
    (drop_trial, "records"),
    (add_run, "records"),
    (other_winner, "records"),
    (more_steps, "records"),
    (other_seed, "plan"),
    (other_code, "plan"),
    (other_space, "plan"),
    (other_protocol, "plan"),
    (other_row, "records"),
    (no_result, "records"),
    (fewer_rounds, "scores"),
    (no_latency, "records"),
    (other_device, "records"),
    (new_field, "schema"),
)


@pytest.mark.parametrize(("edit", "finder"), EDITS, ids=[edit.__name__ for edit, _ in EDITS])
def test_a_forgery_that_does_not_fit_together_is_found(
    copy: Path, edit: Callable[[list[Value]], None], finder: str
) -> None:
    lines = lines_of(copy)
    edit(lines)
    write_lines(copy, lines)
    assert finder in findings(copy, finder)


def test_a_forger_who_changes_nothing_leaves_no_trace(copy: Path) -> None:
    """The test above sees the edit, not the rewriting."""
    write_lines(copy, lines_of(copy))
    assert findings(copy) == {}


def test_a_forgery_that_fits_together_is_found_by_running_it_again(world: Path, copy: Path, tmp_path: Path) -> None:
    """Accuracies of dense are in no other number: only training again can tell."""
    honest = list(rerun(Submission.read(copy), 3, tmp_path / "scratch", lambda label: None))
    assert [each.exactly for each in honest] == [True] * 3, "this machine made them"
    lines = lines_of(copy)
    for record in lines[1:]:
        if record["cell"]["kind"] in ("trial", "final"):
            for name in ("test_accuracy", "validation_accuracy"):
                if name in record["scores"]:
                    record["scores"][name] = 0.97
    write_lines(copy, lines)
    submission = Submission.read(copy)
    again = list(rerun(submission, 1, tmp_path / "more", lambda label: None))
    assert not again[0].agrees
    assert verification(submission, again, "here").agreed == 0


def test_which_runs_are_seen_again_follows_from_the_records(copy: Path) -> None:
    before = chosen(Submission.read(copy), 12)
    assert len(set(before)) == 12 == len(Submission.read(copy).training)
    assert chosen(Submission.read(copy), 4) == before[:4]
    lines = lines_of(copy)
    records_of(lines, "final")[0]["provenance"]["seconds"] += 1
    write_lines(copy, lines)
    assert chosen(Submission.read(copy), 12) != before


def test_the_command_line_checks_runs_again_and_says_so_on_the_page(copy: Path) -> None:
    index = write_index(copy.parents[1])
    ran = CliRunner().invoke(cli, ["verify", str(copy), "--rerun", "1"], standalone_mode=False)
    assert ran.return_value == 0, ran.output
    assert "3 rows, 13 records: holds" in ran.output
    assert "Seen again: 1 of 12 runs" in (copy / "board.html").read_text()
    assert "| 1 of 12 |" in index.read_text()
    assert findings(copy, "files", "boards") == {}
    (copy / "board.md").write_text("# Mine is best\n")
    ran = CliRunner().invoke(cli, ["verify", str(copy), "--rerun", "1"], standalone_mode=False)
    assert ran.return_value == 1
    assert "board.md is not what the records give" in ran.output
    assert "nothing is run again before the checks hold" in ran.output


def test_what_is_no_publication_is_one_sentence(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(ResultsError, match=r"holds no submission\.json"):
        Submission.read(tmp_path)
    (copy / pack.NAME).write_text("{}\n")
    with pytest.raises(ResultsError, match="damaged at line 1: not the first line of a pack of version 1"):
        Submission.read(copy)
    with pytest.raises(ResultsError, match="no directory"):
        open_results(tmp_path / "none")
    with pytest.raises(ResultsError, match="no suite has run into"):
        open_results(tmp_path)


def test_a_published_directory_has_one_suite(copy: Path) -> None:
    with pytest.raises(UsageError, match="holds suite 'tiny', not 'quick'"):
        open_results(copy, "quick")


def test_published_runs_need_not_be_run_again(world: Path, copy: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    store.prepare()
    assert reuse(copy, store) == 13
    assert reuse(copy, store) == 0
    session = run_tiny(str(world / "tiny.toml"), tmp_path / "r", variants=())
    assert not session.unfinished
    fresh = [path for path in (tmp_path / "r" / "weights").rglob("*") if path.is_file()]
    assert not fresh, "nothing was trained"


def test_the_index_names_every_board_and_other_page(copy: Path) -> None:
    root = copy.parents[1]
    (root / "paper").mkdir()
    (root / "paper" / "report.md").write_text("# Claims\n")
    text = write_index(root).read_text()
    assert f"(tiny/{copy.name}/board.html)" in text
    assert text.endswith("Also here: [paper/report.md](paper/report.md).\n")
    assert "side by side" not in text, "one board with one budget has nothing beside it"


def test_boards_of_the_same_models_stand_side_by_side(tmp_path: Path) -> None:
    """Two axes over the same tasks and training: a column for each budget of each, rank and score in the cell."""
    boards = [(Path(f"{axis}/here"), small_board(tmp_path / axis, axis=axis).board()) for axis in ("total", "flops")]
    text = to_markdown(boards)
    assert ": side by side\n" in text
    (line,) = [
        line for line in text.splitlines() if line.startswith("| soft\\_moe |") or line.startswith("| soft_moe |")
    ]
    assert line.endswith("| 1: 0.976 ±0.011 | 1: 0.976 ±0.011 |")
    other = small_board(tmp_path / "other", axis="total").board()
    other = dataclasses.replace(other, device="another")
    assert "side by side" not in to_markdown([boards[0], (Path("other/there"), other)])
