"""Edits of a publication that no single file gives away: rows, labels and numbers that no run can have."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench.board.formats import TEXTS
from moebench.board.shares import NOT_DEPENDENT
from moebench.cli.main import cli
from moebench.published import manifest, verified
from moebench.published.boards import board_of, published_board
from moebench.published.checks.definitions import AT_SHARES, presence
from moebench.published.checks.ranges import outside, too_sure
from moebench.published.index import write_index
from moebench.published.rerun import rerun
from moebench.published.reuse import reuse
from moebench.published.submission import Submission
from moebench.runs import Record, Store
from moebench.runs.canonical import digest
from publications import Value, copied, damage, findings, lines_of, records_of, run_and_publish, write_lines


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite run for real with a variant from a file, in ``r``, and published to ``p``."""
    return run_and_publish(tmp_path_factory.mktemp("published"))


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """A copy of the published directory that a test may spoil."""
    return copied(world, tmp_path)


def plan_of(lines: list[Value]) -> Value:
    plan: Value = lines[0]["plan"]
    return plan


def finals(lines: list[Value], row: str = "soft_moe") -> list[Value]:
    return [record["scores"] for record in records_of(lines, "final", row)]


def rival_withdrawn(lines: list[Value]) -> None:
    plan_of(lines)["rows"][1]["problem"] = "its authors have withdrawn it"


def row_not_selected(lines: list[Value]) -> None:
    plan_of(lines)["rows"][1]["selected"] = False


def study_broken(lines: list[Value]) -> None:
    plan_of(lines)["groups"][0]["broken"] = True


def dense_from_a_file(lines: list[Value]) -> None:
    for row in plan_of(lines)["rows"]:
        row["spec"] = "variants/mine.py:Mine" if row["name"] == "dense" else row["spec"]


def where_the_data_lie(lines: list[Value]) -> None:
    plan_of(lines)["data"] = "/home/me"


def device_of_no_kind(lines: list[Value]) -> None:
    plan_of(lines)["device"]["type"] = "abacus"


def device_of_another_kind(lines: list[Value]) -> None:
    plan_of(lines)["device"]["type"] = "cuda"


def label_in_words(lines: list[Value]) -> None:
    plan_of(lines)["protocol"] = "1 (certified by moebench)"


def label_of_more_seeds(lines: list[Value]) -> None:
    plan_of(lines)["protocol"] = "1 (seeds=100)"


def specialization_without_parts(lines: list[Value]) -> None:
    for scores in finals(lines):
        scores.pop("accuracy_random_1_8")
        scores["specialization"] = 97.0


def specialization_hidden(lines: list[Value]) -> None:
    for record in records_of(lines, "final"):
        record["scores"]["specialization"] = None
        record["reasons"] = {"specialization": "no experts"}


def specialization_of_dense(lines: list[Value]) -> None:
    for record in records_of(lines, "final", "dense"):
        record["scores"]["specialization"] = 0.9
        record["reasons"] = {}


def hardly_dependent(lines: list[Value]) -> None:
    for scores in finals(lines):
        whole, none = scores["accuracy_all_experts"], scores["accuracy_all_experts"] - 1 / 360
        scores["accuracy_no_experts"] = none
        gaps = [scores[f"accuracy_selected_{f}"] - scores[f"accuracy_static_{f}"] for f in ("1_8", "1_4", "1_2")]
        scores["specialization"] = sum(gaps) / 3 / (whole - none)


def parts_of_no_answers(lines: list[Value]) -> None:
    finals(lines)[0]["accuracy_random_1_8"] += 1e-4


def more_than_all_mass(lines: list[Value]) -> None:
    finals(lines)[0]["mass_kept_1_8"] = 5.0


def too_sure_of_itself(lines: list[Value]) -> None:
    finals(lines)[0]["test_loss_nats"] = 1e-9


def no_time(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["details"].pop("train_seconds")


def less_than_no_memory(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["details"]["peak_memory_mib"] = -5.0


def one_row_untimed(lines: list[Value]) -> None:
    next(iter(records_of(lines, "latency")[0]["details"]["finalists"].values())).pop("forward_ms")


def weights_in_words(lines: list[Value]) -> None:
    next(iter(records_of(lines, "latency")[0]["details"]["finalists"].values()))["weights"] = "the best"


def session_with_scores(lines: list[Value]) -> None:
    records_of(lines, "latency")[0]["scores"] = {"test_accuracy": 1.0}


def other_software(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["provenance"]["versions"] = {"audited by": "the moebench team"}


def no_device(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["provenance"].pop("device")


def other_precision(lines: list[Value]) -> None:
    for line in lines[1:]:
        line["cell"]["precision"] = "bf16"
        line["identity"] = digest(line["cell"])


def done_with_a_reason(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["reason"] = "verified by the moebench team"


EDITS = (
    *((edit, "rows") for edit in (rival_withdrawn, row_not_selected, study_broken, dense_from_a_file)),
    *((edit, "rows") for edit in (where_the_data_lie, device_of_no_kind, device_of_another_kind)),
    *((edit, "rows") for edit in (label_in_words, label_of_more_seeds)),
    *((edit, "scores") for edit in (specialization_without_parts, specialization_hidden, specialization_of_dense)),
    *((edit, "scores") for edit in (hardly_dependent, parts_of_no_answers, more_than_all_mass, too_sure_of_itself)),
    *((edit, "scores") for edit in (no_time, less_than_no_memory, one_row_untimed, weights_in_words)),
    (session_with_scores, "scores"),
    *((edit, "records") for edit in (other_software, no_device, other_precision, done_with_a_reason)),
)


@pytest.mark.parametrize(("edit", "finder"), EDITS, ids=[edit.__name__ for edit, _ in EDITS])
def test_what_no_run_can_have_is_found(copy: Path, edit: Callable[[list[Value]], None], finder: str) -> None:
    lines = lines_of(copy)
    edit(lines)
    write_lines(copy, lines)
    assert damage(copy) or finder in findings(copy, finder)


def test_a_layer_that_routes_nothing_has_no_specialization_however_well_it_fits(copy: Path) -> None:
    """All parts of Soft MoE's, given to dense: only the variant itself tells."""
    lines = lines_of(copy)
    for mine, theirs in zip(records_of(lines, "final", "dense"), records_of(lines, "final"), strict=True):
        mine["scores"], mine["reasons"] = dict(theirs["scores"]), {}
    write_lines(copy, lines)
    assert findings(copy)["plan"] == ["'dense' has scores of its experts, and its variant routes nothing."]


def test_every_score_of_this_machine_is_compared_and_specialization_decides(copy: Path, tmp_path: Path) -> None:
    """Told to have the same accuracy and twenty times the specialization of what comes again."""
    lines = lines_of(copy)
    for record in lines[1:]:
        if record["cell"]["kind"] == "final" and "load_entropy" in record["scores"]:
            record["scores"] |= {"specialization": 0.9, "load_entropy": 0.5}
    write_lines(copy, lines)
    submission = Submission.read(copy)
    again = [each for each in rerun(submission, 12, tmp_path / "again", lambda label: None) if "final" in each.label]
    of = {row: [each for each in again if each.label.startswith(row)] for row in ("dense", "soft_moe")}
    assert [len(found) for found in of.values()] == [2, 2]
    assert not any(each.agrees for each in of["soft_moe"])
    assert all(set(each.others) == {"load_entropy", "specialization"} for each in of["soft_moe"])
    assert all(each.exactly for each in of["dense"])


def test_no_spread_of_its_own_excuses_what_is_far_away(copy: Path, tmp_path: Path) -> None:
    lines = lines_of(copy)
    for row in ("dense", "soft_moe"):
        first, second = finals(lines, row)
        first["test_accuracy"], second["test_accuracy"] = 1.0, 0.1
    for scores in finals(lines, "mine"):
        scores["test_accuracy"] = 0.975
    write_lines(copy, lines)
    submission = Submission.read(copy)
    again = [each for each in rerun(submission, 12, tmp_path / "again", lambda label: None) if "mine" in each.label]
    finals_again = [each for each in again if each.numbers[0].name == "test_accuracy"]
    assert finals_again
    assert all(each.numbers[0].allowed <= 0.1 * (0.975 - 0.1) + 1e-9 and not each.agrees for each in finals_again)


def test_variants_are_imported_in_a_process_of_their_own(copy: Path, tmp_path: Path) -> None:
    """What they change there changes no verdict here."""
    path, seen = copy / "variants" / "mine.py", tmp_path / "seen"
    changed = "import moebench.published.checks.boards as b; b.check = lambda submission: iter(())"
    path.write_text(f"{path.read_text()}\nimport os; open({str(seen)!r}, 'w').write(str(os.getpid()))\n{changed}\n")
    about = json.loads((copy / manifest.NAME).read_text())
    about["sha256"]["variants/mine.py"] = manifest.sha256(path.read_bytes())
    (copy / manifest.NAME).write_text(json.dumps(about, indent=1) + "\n")
    (copy / "board.md").write_text("# Mine is best\n")
    found = findings(copy)
    assert int(seen.read_text()) != os.getpid()
    assert found["boards"] == ["board.md is not what the records give; run `moebench publish` again."]
    assert "was made with code" in found["plan"][0]


@pytest.mark.parametrize("name", ["README.md", "variants/other.py", "./records.jsonl"])
def test_a_file_that_nothing_needs_is_found_even_where_the_manifest_vouches_for_it(copy: Path, name: str) -> None:
    path = copy / name
    if not path.exists():
        path.write_text("Verified by the moebench team.\n")
    about = json.loads((copy / manifest.NAME).read_text())
    about["sha256"][name] = manifest.sha256(path.read_bytes())
    (copy / manifest.NAME).write_text(json.dumps(about))
    assert f"digests of what no row needs: {name}." in str(findings(copy, "files"))


def test_links_are_found(copy: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.md"
    (copy / "board.md").replace(moved)
    (copy / "board.md").symlink_to(moved)
    (copy / "folder").symlink_to(tmp_path, target_is_directory=True)
    found = str(findings(copy, "files"))
    assert "board.md, folder is a link" in found
    assert "folder does not belong" in found


@pytest.mark.parametrize("name", [manifest.NAME, verified.NAME, "records.jsonl"])
def test_a_file_that_never_ends_is_no_file(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to("/dev/zero")
    ran = CliRunner().invoke(cli, ["verify", str(copy)], standalone_mode=False)
    assert "is not a file" in f"{ran.exception}{ran.output}"


@pytest.mark.parametrize("value", [float("inf"), -1.0, 0.9])
def test_a_difference_that_cannot_be_is_found(copy: Path, value: float) -> None:
    records = manifest.sha256((copy / "records.jsonl").read_bytes())
    told = {"runs": 12, "rerun": 3, "agreed": 3, "exact": 3, "device": "x", "records": records, "pick": ""}
    (copy / verified.NAME).write_text(json.dumps(told | {"largest": value}).replace("Infinity", "1e999"))
    assert "differ by" in str(findings(copy, "files"))


@pytest.mark.parametrize(("field", "value"), [("moebench", "99.0 (audited)"), ("packages", {"dense": "moebench best"})])
def test_a_version_that_is_none_is_found(copy: Path, field: str, value: object) -> None:
    about = json.loads((copy / manifest.NAME).read_text())
    about[field] = value
    (copy / manifest.NAME).write_text(json.dumps(about))
    assert "which is none" in str(findings(copy, "rows"))


def test_nothing_of_a_submission_moves_the_cursor(copy: Path) -> None:
    records = manifest.sha256((copy / "records.jsonl").read_bytes())
    told = {"runs": 12, "rerun": 1, "agreed": 1, "exact": 1, "largest": 0.0, "records": records, "pick": ""}
    (copy / verified.NAME).write_text(json.dumps(told | {"device": "\x1b[2J\x1b[H all checks hold"}))
    board = board_of(Submission.read(copy).results)
    for suffix, render in TEXTS.items():
        (copy / f"board.{suffix}").write_text(render(board))
    ran = CliRunner().invoke(cli, ["verify", str(copy)], standalone_mode=False)
    assert "all checks hold" in ran.output
    assert "\x1b" not in ran.output


def test_a_page_that_is_somebodys_own_is_not_replaced_by_the_index(copy: Path) -> None:
    root = copy.parents[1]
    (root / "README.md").write_text("# My results\n")
    assert write_index(root) is None
    assert (root / "README.md").read_text() == "# My results\n"


def test_no_more_is_taken_over_than_a_packs_own_plan_has(copy: Path, tmp_path: Path) -> None:
    lines = lines_of(copy)
    stray = json.loads(json.dumps(records_of(lines, "final", "dense")[0]))
    stray["cell"]["steps"] += 1
    stray["identity"] = digest(stray["cell"])
    write_lines(copy, [*lines, stray])
    store = Store(tmp_path / "r")
    store.prepare()
    assert reuse(copy, store) == 13
    assert store.get(stray["identity"]) is None


def test_a_row_from_a_file_says_so_on_the_board(copy: Path) -> None:
    board = published_board(copy)
    assert board.entry("mine").note == "from the file mine.py"
    assert "from the file mine.py" in TEXTS["html"](board)


def of_scores(reasons: dict[str, str], **scores: float | None) -> Record:
    return Record(identity="0" * 20, cell={}, status="done", scores=scores, reasons=reasons)


def test_the_ends_of_dependence_are_those_of_paired_answers() -> None:
    """Of 400 inputs, the least standard error of 0.06 is sqrt((0.06 - 0.0036) / 399), 0.0119; five times is 0.059."""
    parts = dict.fromkeys([*AT_SHARES, "paper_gap"], 0.5)

    def said(depends: float, value: float | None, inputs: int | None) -> list[str]:
        reasons = {"specialization": f"{NOT_DEPENDENT} (all"} if value is None else {}
        measured = {"accuracy_all_experts": 0.9, "accuracy_no_experts": 0.9 - depends, "specialization": value}
        return list(presence(of_scores(reasons, **parts, **measured), inputs))

    assert said(0.06, 0.2, 400) == []
    assert said(0.06, None, 400) == [], "it may be known, and may be not"
    assert "it is not known" in said(0.04, 0.2, 400)[0]
    assert "it is not known" in said(0.055, 0.2, 100)[0]
    assert "it is known" in said(0.5, None, 400)[0]
    assert said(0.5, 0.2, None) == said(0.5, None, None) == []


def test_scores_lie_where_their_definitions_end() -> None:
    possible = {"load_entropy": 1.0000002, "retained_1_8": 1.2, "output_cosine": -0.3, "dead_share": None}
    assert list(outside(possible)) == []
    assert "lies between 0 and 1" in next(outside({"dead_share": -2.0}))
    assert "is not below 0" in next(outside({"test_mse": -0.1}))
    assert list(too_sure({"test_accuracy": 0.5, "test_loss_nats": 0.35})) == []
    assert "at least 0.346574" in next(too_sure({"test_accuracy": 0.5, "test_loss_nats": 0.34}))


def test_a_variant_that_cannot_be_used_here_leaves_the_other_findings(copy: Path) -> None:
    path = copy / "variants" / "mine.py"
    path.write_text(f"{path.read_text()}\nimport nothing_of_this_name\n")
    about = json.loads((copy / manifest.NAME).read_text())
    about["sha256"]["variants/mine.py"] = manifest.sha256(path.read_bytes())
    (copy / manifest.NAME).write_text(json.dumps(about, indent=1) + "\n")
    found = findings(copy)["plan"]
    assert found[0].startswith("'mine' cannot be planned here: ")
    assert "nothing_of_this_name" in found[0]
    assert not any("cannot be checked" in sentence for sentence in found)
