"""An edit of a publication is found where its files do not fit together, and by running it again where they do."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from boards import hand_plan
from moebench.board import TEXTS
from moebench.checks import CheckReport, CheckResult
from moebench.cli.main import cli
from moebench.protocol import EARLIER, PROTOCOL
from moebench.publish import Submission, manifest
from moebench.publish.checks import CHECKS, make_checks, sentences
from moebench.publish.manifest import VERIFICATION, Manifest, verification_text
from moebench.publish.pack import Pack
from moebench.publish.rerun import Again, Number, _compared, _spread, rerun, verification
from moebench.publish.sources import board_of
from moebench.records import Record
from moebench.records.canonical import digest
from moebench.suites import Suite, load_suite
from publications import Value, copied, damage, findings, lines_of, records_of, run_and_publish, write_lines


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of a published directory that a test may spoil."""
    return copied(run_and_publish(), tmp_path)


SEEN = '{"runs": 12, "rerun": 3, "agreed": 3, "exact": 3, "largest": 0.0, "device": "x", "records": "0", "pick": ""}'


# What a careless hand changes: every file keeps its name, and one place in it another value.


FILES = ("records.jsonl", "board.json", "board.md", "board.html", "board.csv", "variants/mine.py")


@pytest.mark.parametrize("name", FILES)
def test_a_changed_character_in_any_file_is_found(copy: Path, name: str) -> None:
    path = copy / name
    text = path.read_text()
    # A letter: the last digits of long numbers may differ by rounding.
    place = next(i for i in range(len(text) // 2, len(text)) if text[i].isalpha())
    path.write_text(f"{text[:place]}{'7' if text[place] != '7' else '8'}{text[place + 1 :]}")
    assert damage(copy) or findings(copy, "files", "boards")


def test_a_file_too_many_and_one_too_few_are_found(copy: Path) -> None:
    (copy / "weights.bin").write_bytes(b"x")
    (copy / "board.csv").unlink()
    found = findings(copy, "files", "boards")
    assert found["files"] == ["weights.bin does not belong in a published directory."]
    assert found["boards"] == ["board.csv is missing."]


def test_no_code_is_imported_that_the_manifest_does_not_vouch_for(copy: Path, tmp_path: Path) -> None:
    """A check that would import it is not made."""
    seen = tmp_path / "seen"
    path = copy / "variants" / "mine.py"
    path.write_text(f"{path.read_text()}\nopen({str(seen)!r}, 'w').close()\n")
    found = {made.name: made for made in make_checks(Submission.read(copy))}
    assert found["files"].found
    assert found["plan"].missing == found["counts"].missing == ("files",)
    assert not seen.exists()


def test_a_trial_without_its_score_is_one_sentence(copy: Path) -> None:
    lines = lines_of(copy)
    records_of(lines, "trial")[0]["scores"]["validation_accuracy"] = None
    write_lines(copy, lines)
    ran = CliRunner().invoke(cli, ["verify", str(copy)], standalone_mode=False)
    assert ran.return_value == 1
    assert "it cannot be checked: ResultsError: the trial" in ran.output


@pytest.mark.parametrize("spec", ["variants/../../mine.py:Mine", "/tmp/mine.py", "variants/mine.py:/x/evil.py:Mine"])
def test_a_variant_outside_of_the_directory_is_found(copy: Path, spec: str) -> None:
    lines = lines_of(copy)
    for row in lines[0]["plan"]["rows"]:
        row["spec"] = spec if row["name"] == "mine" else row["spec"]
    write_lines(copy, lines)
    assert "files of variants lie in variants/" in str(findings(copy, "rows")["rows"])


def test_a_file_that_only_the_suite_names_is_not_run(copy: Path, tmp_path: Path) -> None:
    """The plan is made again of the suite, so what it names would be imported."""
    seen, evil = tmp_path / "seen", tmp_path / "evil.py"
    evil.write_text(f"open({str(seen)!r}, 'w').close()\n")
    lines = lines_of(copy)
    lines[0]["plan"]["suite"]["reference"] += [
        {"name": "evil", "variant": f"{evil}:Evil", "note": "?", "active_of": None}
    ]
    write_lines(copy, lines)
    made = {each.name: each for each in make_checks(Submission.read(copy))}
    assert "files of variants lie in variants/" in str(made["rows"].found)
    assert "rows" in made["plan"].missing
    assert not seen.exists()


def test_what_no_check_was_made_for_is_a_finding_and_no_traceback(copy: Path) -> None:
    def broken(submission: Submission) -> Iterator[str]:
        raise ZeroDivisionError("of a kind that nobody foresaw")

    found = sentences(broken, Submission.read(copy))
    assert found == ("it cannot be checked: ZeroDivisionError: of a kind that nobody foresaw",)


def test_checks_that_read_what_the_schema_promises_wait_for_it(copy: Path) -> None:
    submission = Submission.read(copy)
    records = submission.pack.records
    changed = {name: record.model_copy(update={"reason": None}) for name, record in records.items()}
    pack = dataclasses.replace(submission.pack, records=changed)
    found = {made.name: made for made in make_checks(dataclasses.replace(submission, pack=pack))}
    assert [name for name, made in found.items() if made.found] == ["schema"]
    assert [name for name, made in found.items() if made.missing] == list(found)[2:]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"runs": 12, "rerun": 3, "agreed": 3, "device": "x"}', "is damaged or of an older moebench"),
        ("[", "is damaged or of an older moebench"),
        (SEEN, "is of other records than these"),
        (SEEN.replace('"runs": 12', '"runs": "12"'), "is damaged or of an older moebench"),
    ],
)
def test_the_re_runs_that_a_submission_reports_are_of_its_own_records(copy: Path, text: str, says: str) -> None:
    (copy / "verification.json").write_text(text)
    assert says in str(findings(copy)["files"])


# What a clever hand changes: digests, order and boards are made again, so that only the content can give it away.


def change_count(lines: list[Value]) -> None:
    for record in records_of(lines, "final"):
        record["counts"]["active_params"] //= 2


def change_flops(lines: list[Value]) -> None:
    records_of(lines, "trial")[0]["counts"]["flops_per_input"] -= 64


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


def of_an_earlier_protocol(lines: list[Value]) -> None:
    """Whose checks are fewer."""
    lines[0]["plan"]["protocol"] = next(iter(EARLIER))


def no_result(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["status"] = "oom"


def no_latency(lines: list[Value]) -> None:
    lines.remove(records_of(lines, "latency")[0])


def new_field(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["cell"]["bonus"] = 1
    record = records_of(lines, "final")[0]
    record["identity"] = digest(record["cell"])


def plan_of(lines: list[Value]) -> Value:
    plan: Value = lines[0]["plan"]
    return plan


def rival_withdrawn(lines: list[Value]) -> None:
    plan_of(lines)["rows"][1]["problem"] = "its authors have withdrawn it"


def dense_from_a_file(lines: list[Value]) -> None:
    for row in plan_of(lines)["rows"]:
        row["spec"] = "variants/mine.py:Mine" if row["name"] == "dense" else row["spec"]


def label_of_more_seeds(lines: list[Value]) -> None:
    plan_of(lines)["protocol"] = f"{PROTOCOL} (seeds=100)"


def other_precision(lines: list[Value]) -> None:
    for group in lines[0]["plan"]["groups"]:
        group["template"]["precision"] = "bf16"
    for line in lines[1:]:
        line["cell"]["precision"] = "bf16"
        line["identity"] = digest(line["cell"])


EDITS = (
    *((edit, "counts") for edit in (change_count, change_flops)),
    *((edit, "records") for edit in (drop_trial, add_run, other_winner, more_steps, no_result, no_latency)),
    *((edit, "plan") for edit in (drop_seed, other_seed, other_code, other_space, other_protocol, other_precision)),
    (rival_withdrawn, "plan"),
    (label_of_more_seeds, "suite"),
    (of_an_earlier_protocol, "records"),
    (dense_from_a_file, "rows"),
    (new_field, "schema"),
)


@pytest.mark.parametrize(("edit", "finder"), EDITS, ids=[edit.__name__ for edit, _ in EDITS])
def test_a_forgery_that_does_not_fit_together_is_found(
    copy: Path, edit: Callable[[list[Value]], None], finder: str
) -> None:
    lines = lines_of(copy)
    edit(lines)
    write_lines(copy, lines)
    assert damage(copy) or finder in findings(copy, finder)


def test_a_forgery_that_fits_together_is_found_by_running_it_again(copy: Path, tmp_path: Path) -> None:
    """Accuracies of dense are in no other number: only training again can tell."""
    submission = Submission.read(copy)
    honest = list(rerun(submission, 3, tmp_path / "scratch", lambda label: None))
    assert [each.exactly for each in honest] == [True] * 3, "this machine made them"
    names = [[number.name for number in each.numbers] for each in honest]
    final = ["test_accuracy", "specialization"]
    assert names == [final, ["validation_accuracy"], final]
    seen = verification(submission, honest)
    assert (seen.agreed, seen.exact, seen.largest) == (3, 3, 0.0)
    assert seen.device == submission.plan.device["name"]
    (copy / "verification.json").write_text(verification_text(seen))
    assert "Re-run, according to verification.json: 3 of 12 training runs" in TEXTS["md"](board_of(submission.results))
    lines = lines_of(copy)
    for record in lines[1:]:
        if record["cell"]["kind"] == "final":
            record["scores"]["test_accuracy"] = 0.97
    write_lines(copy, lines)
    submission = Submission.read(copy)
    assert "Re-run" not in TEXTS["md"](board_of(submission.results)), "it was of other records"
    assert "is of other records than these" in str(findings(copy, "files"))
    again = list(rerun(submission, 1, tmp_path / "more", lambda label: None))
    assert not again[0].agrees
    assert verification(submission, again).agreed == 0
    assert verification(submission, again).largest > 0.02


def finals(lines: list[Value], row: str = "soft_moe") -> list[Value]:
    return [record["scores"] for record in records_of(lines, "final", row)]


def final_of(submission: Submission, row: str) -> Record:
    (group,) = submission.plan.groups_of(row)
    record = submission.pack.get(group.final_cells(submission.pack.get)[0].identity)
    assert record is not None
    return record


def test_no_row_sets_the_margin_within_which_its_own_runs_agree(copy: Path) -> None:
    """The spread over seeds is pooled over the rows, so one row's forged spread is a third of the variance."""

    def spread(submission: Submission) -> float:
        (group,) = submission.plan.groups_of("soft_moe")
        return _spread(submission, group, "test_accuracy")

    before = spread(Submission.read(copy))
    lines = lines_of(copy)
    first, second = finals(lines)
    first["test_accuracy"], second["test_accuracy"] = 0.2, 0.8
    write_lines(copy, lines)
    assert spread(Submission.read(copy)) == pytest.approx((0.18 / 3) ** 0.5, rel=0.2)
    assert before < 0.1


def test_every_score_is_compared_and_specialization_decides(copy: Path) -> None:
    """Published with the same accuracy and twenty times the specialization of what comes again."""
    honest = final_of(Submission.read(copy), "soft_moe")
    lines = lines_of(copy)
    for scores in finals(lines):
        scores |= {"specialization": 0.9, "load_entropy": 0.5}
    write_lines(copy, lines)
    again = _compared(Submission.read(copy), honest.identity, honest, "soft_moe")
    assert not again.agrees
    assert set(again.others) == {"load_entropy", "specialization"}


def test_no_spread_of_its_own_allows_what_is_far_away(copy: Path) -> None:
    honest = final_of(Submission.read(copy), "mine")
    lines = lines_of(copy)
    for row in ("dense", "soft_moe"):
        first, second = finals(lines, row)
        first["test_accuracy"], second["test_accuracy"] = 1.0, 0.1
    for scores in finals(lines, "mine"):
        scores["test_accuracy"] = 0.975
    write_lines(copy, lines)
    (accuracy, _) = _compared(Submission.read(copy), honest.identity, honest, "mine").numbers
    assert accuracy.allowed <= 0.1 * (0.975 - 0.1) + 1e-9
    assert not accuracy.agrees


def test_variants_are_imported_in_a_process_of_their_own(copy: Path, tmp_path: Path) -> None:
    """What they change there changes no verdict here."""
    path, seen = copy / "variants" / "mine.py", tmp_path / "seen"
    changed = "import moebench.publish.checks as c; c.CHECKS = {}"
    path.write_text(f"{path.read_text()}\nimport os; open({str(seen)!r}, 'w').write(str(os.getpid()))\n{changed}\n")
    about = json.loads((copy / manifest.NAME).read_text())
    about["sha256"]["variants/mine.py"] = manifest.sha256(path.read_bytes())
    (copy / manifest.NAME).write_text(json.dumps(about, indent=1) + "\n")
    (copy / "board.md").write_text("# Mine is best\n")
    found = findings(copy)
    assert int(seen.read_text()) != os.getpid()
    assert found["boards"] == ["board.md is not what the records give; run `moebench publish` again."]
    assert "was made with code" in found["plan"][0]


def test_a_file_that_nothing_needs_is_found_even_where_the_manifest_vouches_for_it(copy: Path) -> None:
    (copy / "README.md").write_text("Verified by the moebench team.\n")
    about = json.loads((copy / manifest.NAME).read_text())
    about["sha256"]["README.md"] = manifest.sha256((copy / "README.md").read_bytes())
    (copy / manifest.NAME).write_text(json.dumps(about))
    assert findings(copy, "files")["files"] == ["the manifest has a digest of README.md, which no row needs."]


def test_nothing_of_a_submission_moves_the_cursor(copy: Path) -> None:
    records = manifest.sha256((copy / "records.jsonl").read_bytes())
    told = {"runs": 12, "rerun": 1, "agreed": 1, "exact": 1, "largest": 0.0, "records": records, "pick": ""}
    (copy / VERIFICATION).write_text(json.dumps(told | {"device": "\x1b[2J\x1b[H all checks hold"}))
    board = board_of(Submission.read(copy).results)
    for suffix, render in TEXTS.items():
        (copy / f"board.{suffix}").write_text(render(board))
    ran = CliRunner().invoke(cli, ["verify", str(copy)], standalone_mode=False)
    assert "all checks hold" in ran.output
    assert "\x1b" not in ran.output


def of_another_machine(
    published: float | None = 0.9,
    found: float | None = 0.9,
    statuses: tuple[str, str] = ("done", "done"),
    others: tuple[str, ...] = (),
) -> Again:
    number = Number("test_accuracy", published, found, 0.02)
    return Again("a", (number,), statuses, others if published == found else ("test_accuracy",), "x")


def test_a_run_that_now_fails_does_not_agree_with_one_that_diverged() -> None:
    """Neither has a score, and that is all they have in common."""
    assert of_another_machine().agrees
    assert of_another_machine(found=0.885).agrees
    assert not of_another_machine(found=0.87).agrees
    assert of_another_machine(published=None, found=None, statuses=("diverged", "diverged")).exactly
    assert not of_another_machine(published=None, found=None, statuses=("diverged", "oom")).agrees
    assert not of_another_machine(published=None, statuses=("diverged", "done")).agrees


def of_suite(own: Suite, protocol: str = PROTOCOL) -> list[str]:
    """What the suite's check says of a submission with that suite."""
    plan = dataclasses.replace(hand_plan(), suite=own, protocol=protocol)
    about = Manifest(suite="s", protocol="1", device="d", moebench="0", command="c", records=0, packages={}, sha256={})
    return list(CHECKS["suite"].find(Submission(Path(), about, Pack(plan, {}))))


def quick(**changed: object) -> Suite:
    """The suite quick as it is published of the hand-made plan's rows."""
    known = load_suite("quick")
    kept = {"reference": [], "space": {name: known.space[name] for name in ("soft_moe", "sparse_topk")}}
    return known.model_copy(update=kept | changed)


def test_a_suite_under_a_known_name_must_be_the_known_one() -> None:
    assert of_suite(quick()) == []
    longer = quick(training=quick().training.model_copy(update={"steps": 3000}))
    assert of_suite(longer) == ["'training' of the suite 'quick' is not what moebench has under that name."]
    assert of_suite(quick(seeds=8)) == ["'seeds' of the suite 'quick' is not what moebench has under that name."]
    assert of_suite(quick(seeds=8), f"{PROTOCOL} (seeds=8)") == []
    assert f"make '{PROTOCOL}'" in of_suite(quick(), f"{PROTOCOL} (seeds=3)")[0], "the suite's own number is no change"


# What a row's code was checked for.


def with_conformance(directory: Path, found: dict[str, Value]) -> None:
    path = directory / manifest.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"conformance": found}))


def test_a_published_row_of_another_author_is_ranked_where_it_holds_all_checks(copy: Path) -> None:
    (code,) = json.loads((copy / manifest.NAME).read_text())["conformance"]
    mine = next(entry for entry in board_of(Submission.read(copy).results).entries if entry.variant == "mine")
    assert mine.rank is not None
    assert str(mine.conformance).startswith("holds ")
    broken = {code: {"holds": 40, "of": 41, "failed": ["deepcopy"]}}
    for found, reason in (({}, "not_checked"), (broken, "checks_fail")):
        with_conformance(copy, found)
        mine = next(entry for entry in board_of(Submission.read(copy).results).entries if entry.variant == "mine")
        assert mine.rank is None
        assert mine.reason is not None
        assert mine.reason.code == reason


def test_a_row_that_fails_checks_here_and_is_ranked_is_found(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = CheckReport("mine", (CheckResult("deepcopy", "fails", "shares"),))
    monkeypatch.setattr("moebench.checks.run.run_checks", lambda spec: failed)
    (sentence,) = findings(copy, "conformance")["conformance"]
    assert "'mine' holds 0 of 1 checks here, and fails deepcopy" in sentence
    with_conformance(copy, {})
    assert findings(copy, "conformance")["conformance"] == [
        "'mine' is not among the rows whose checks the manifest reports."
    ]


def test_a_final_run_without_an_audit_is_found_and_one_that_failed_it_is_unranked(copy: Path) -> None:
    def without(value: Value) -> Value:
        return value | {"audit": {}} if value["cell"]["kind"] == "final" else value

    def failed(value: Value) -> Value:
        of_mine = value["cell"]["kind"] == "final" and value["cell"]["variant"] == "mine"
        return value | {"audit": {"found": [{"code": "others", "gap": 0.5}]}} if of_mine else value

    plan, *records = lines_of(copy)
    write_lines(copy, [plan, *map(without, records)])
    assert any("was not audited" in sentence for sentence in findings(copy, "records")["records"])
    write_lines(copy, [plan, *map(failed, records)])
    mine = next(entry for entry in board_of(Submission.read(copy).results).entries if entry.variant == "mine")
    assert (mine.rank, mine.reason and mine.reason.code) == (None, "audit_others")
