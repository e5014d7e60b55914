"""An edit of a publication is found where its files do not fit together, and by running it again where they do."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from boards import hand_plan
from moebench.board import TEXTS
from moebench.cli.main import cli
from moebench.errors import ResultsError
from moebench.publish import Submission, manifest
from moebench.publish.checks import CHECKS, make_checks
from moebench.publish.manifest import VERIFICATION, Manifest, verification_text
from moebench.publish.pack import NAME, Pack
from moebench.publish.rerun import Again, Number, _spread, rerun, verification
from moebench.publish.sources import board_of, open_results
from moebench.records.canonical import digest
from moebench.suites import Suite, load_suite
from publications import Value, copied, damage, findings, lines_of, records_of, run_and_publish, write_lines


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite run for real with a variant from a file, in ``r``, and published to ``p``."""
    return run_and_publish(tmp_path_factory.mktemp("published"))


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """A copy of the published directory that a test may spoil."""
    return copied(world, tmp_path)


SEEN = '{"runs": 12, "rerun": 3, "agreed": 3, "exact": 3, "largest": 0.0, "device": "x", "records": "0", "pick": ""}'


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


def test_no_code_is_imported_that_the_manifest_does_not_vouch_for(copy: Path, tmp_path: Path) -> None:
    """A check that would import it is not made."""
    seen = tmp_path / "seen"
    path = copy / "variants" / "mine.py"
    path.write_text(f"{path.read_text()}\nopen({str(seen)!r}, 'w').close()\n")
    found = {made.name: made for made in make_checks(Submission.read(copy))}
    assert found["files"].found
    assert found["plan"].missing == found["counts"].missing == ("files",)
    assert not seen.exists()


@pytest.mark.parametrize(
    "spec",
    [
        *("variants/../../mine.py:Mine", "/tmp/mine.py", "../mine.py", "mine:Mine", "variants/mine.py:/x/evil.py:Mine"),
        *("variants/mine.py:/../../evil.py:Mine", "variants/mine.py", "variants/a/mine.py:Mine", "variants/b.py:C.d"),
    ],
)
def test_a_variant_outside_of_the_directory_is_found(copy: Path, spec: str) -> None:
    lines = lines_of(copy)
    for row in lines[0]["plan"]["rows"]:
        row["spec"] = spec if row["name"] == "mine" else row["spec"]
    write_lines(copy, lines)
    assert "files of variants lie in variants/" in str(findings(copy, "rows")["rows"])
    made = {each.name: each for each in make_checks(Submission.read(copy))}
    assert "rows" in made["plan"].missing, "nothing is imported"
    assert "rows" in made["counts"].missing, "nothing is imported"


@pytest.mark.parametrize("place", ["reference", "variants"])
def test_a_file_that_only_the_suite_names_is_not_run(copy: Path, tmp_path: Path, place: str) -> None:
    """The plan is made again of the suite, so what it names would be imported."""
    seen, evil = tmp_path / "seen", tmp_path / "evil.py"
    evil.write_text(f"open({str(seen)!r}, 'w').close()\n")
    spec = f"{evil}:Evil"
    lines = lines_of(copy)
    named = {"name": "evil", "variant": spec, "note": "?", "active_of": None}
    lines[0]["plan"]["suite"][place] += [named if place == "reference" else spec]
    write_lines(copy, lines)
    found = findings(copy)
    assert "files of variants lie in variants/" in str(found["rows"])
    assert not seen.exists()


def test_what_no_check_was_made_for_is_a_finding_and_no_traceback(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("of a kind that nobody foresaw")

    monkeypatch.setattr("moebench.publish.checks.latency_cells", broken)
    assert findings(copy)["records"] == ["it cannot be checked: ZeroDivisionError: of a kind that nobody foresaw"]


def test_a_trial_without_its_score_is_one_sentence(copy: Path) -> None:
    lines = lines_of(copy)
    records_of(lines, "trial")[0]["scores"]["validation_accuracy"] = None
    write_lines(copy, lines)
    with pytest.raises(ResultsError, match="is done and lacks validation_accuracy"):
        board_of(open_results(copy))
    ran = CliRunner().invoke(cli, ["verify", str(copy)], standalone_mode=False)
    assert ran.return_value == 1
    assert "it cannot be checked: ResultsError: the trial" in ran.output


def test_checks_that_read_what_the_schema_promises_wait_for_it(copy: Path) -> None:
    lines = lines_of(copy)
    new_field(lines)
    write_lines(copy, lines)
    found = {made.name: made for made in make_checks(Submission.read(copy))}
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
def test_what_a_submission_says_was_seen_again_is_of_its_own_records(copy: Path, text: str, says: str) -> None:
    (copy / "verification.json").write_text(text)
    assert says in str(findings(copy)["files"])


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


def no_latency(lines: list[Value]) -> None:
    lines.remove(records_of(lines, "latency")[0])


def other_device(lines: list[Value]) -> None:
    records_of(lines, "latency")[0]["provenance"]["device"] = "a faster one"


def new_field(lines: list[Value]) -> None:
    records_of(lines, "final")[0]["cell"]["bonus"] = 1
    record = records_of(lines, "final")[0]
    record["identity"] = digest(record["cell"])


def plan_of(lines: list[Value]) -> Value:
    plan: Value = lines[0]["plan"]
    return plan


def rival_withdrawn(lines: list[Value]) -> None:
    plan_of(lines)["rows"][1]["problem"] = "its authors have withdrawn it"


def row_not_selected(lines: list[Value]) -> None:
    plan_of(lines)["rows"][1]["selected"] = False


def study_broken(lines: list[Value]) -> None:
    plan_of(lines)["groups"][0]["broken"] = True


def dense_from_a_file(lines: list[Value]) -> None:
    for row in plan_of(lines)["rows"]:
        row["spec"] = "variants/mine.py:Mine" if row["name"] == "dense" else row["spec"]


def label_in_words(lines: list[Value]) -> None:
    plan_of(lines)["protocol"] = "1 (certified by moebench)"


def label_of_more_seeds(lines: list[Value]) -> None:
    plan_of(lines)["protocol"] = "1 (seeds=100)"


def other_precision(lines: list[Value]) -> None:
    for group in lines[0]["plan"]["groups"]:
        group["template"]["precision"] = "bf16"
    for line in lines[1:]:
        line["cell"]["precision"] = "bf16"
        line["identity"] = digest(line["cell"])


EDITS = (
    *((edit, "counts") for edit in (change_count, change_budget, change_flops)),
    *((edit, "records") for edit in (drop_trial, add_run, other_winner, more_steps, other_row, no_result)),
    *((edit, "records") for edit in (no_latency, other_device)),
    *((edit, "plan") for edit in (drop_seed, other_seed, other_code, other_space, other_protocol, other_precision)),
    *((edit, "plan") for edit in (rival_withdrawn, row_not_selected, study_broken)),
    *((edit, "suite") for edit in (label_in_words, label_of_more_seeds)),
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


def test_a_run_without_a_result_is_named(copy: Path) -> None:
    lines = lines_of(copy)
    no_result(lines)
    identity = records_of(lines, "final")[0]["identity"]
    write_lines(copy, lines)
    assert f"record {identity} has no result: oom." in findings(copy, "records")["records"]


def respelt(lines: list[str]) -> None:
    lines[2] = lines[2].replace(":", ": ", 1)


def reordered(lines: list[str]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def with_more_in_its_head(lines: list[str]) -> None:
    lines[0] = lines[0].replace("{", '{"bonus":1,', 1)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (respelt, f"line 3 of {NAME} is not what moebench writes there: something was changed by hand."),
        (reordered, f"line 2 of {NAME} is not what moebench writes there: something was changed by hand."),
        (with_more_in_its_head, f"line 1 of {NAME} is not what moebench writes there: something was changed by hand."),
    ],
)
def test_records_that_say_the_same_otherwise_are_found(
    copy: Path, edit: Callable[[list[str]], None], says: str
) -> None:
    lines = (copy / NAME).read_text().splitlines()
    edit(lines)
    (copy / NAME).write_text("".join(f"{line}\n" for line in lines))
    assert findings(copy, "schema")["schema"] == [says]


def test_a_forger_who_changes_nothing_leaves_no_trace(copy: Path) -> None:
    """The test above sees the edit, not the rewriting."""
    write_lines(copy, lines_of(copy))
    assert findings(copy) == {}


def test_a_forgery_that_fits_together_is_found_by_running_it_again(world: Path, copy: Path, tmp_path: Path) -> None:
    """Accuracies of dense are in no other number: only training again can tell."""
    submission = Submission.read(copy)
    honest = list(rerun(submission, 3, tmp_path / "scratch", lambda label: None))
    assert [each.exactly for each in honest] == [True] * 3, "this machine made them"
    names = [[number.name for number in each.numbers] for each in honest]
    final = ["test_accuracy", "specialization"]
    assert names == [final, ["validation_accuracy"], final]
    seen = verification(submission, honest)
    assert (seen.agreed, seen.exact, seen.largest) == (3, 3, 0.0)
    (copy / "verification.json").write_text(verification_text(seen))
    assert "Seen again, as verification.json says: 3 of 12 training runs" in TEXTS["md"](board_of(submission.results))
    lines = lines_of(copy)
    for record in lines[1:]:
        if record["cell"]["kind"] == "final":
            record["scores"]["test_accuracy"] = 0.97
    write_lines(copy, lines)
    submission = Submission.read(copy)
    assert "Seen again" not in TEXTS["md"](board_of(submission.results)), "it was of other records"
    assert "is of other records than these" in str(findings(copy, "files"))
    again = list(rerun(submission, 1, tmp_path / "more", lambda label: None))
    assert not again[0].agrees
    assert verification(submission, again).agreed == 0
    assert verification(submission, again).largest > 0.02


def test_no_row_sets_the_margin_within_which_its_own_runs_agree(copy: Path) -> None:
    """The spread over seeds is pooled over the rows, so one row's forged spread is a third of the variance."""

    def spread(submission: Submission) -> float:
        (group,) = submission.plan.groups_of("soft_moe")
        return _spread(submission, group, "test_accuracy")

    before = spread(Submission.read(copy))
    lines = lines_of(copy)
    first, second = (record["scores"] for record in records_of(lines, "final"))
    first["test_accuracy"], second["test_accuracy"] = 0.2, 0.8
    write_lines(copy, lines)
    assert spread(Submission.read(copy)) == pytest.approx((0.18 / 3) ** 0.5, rel=0.2)
    assert before < 0.1


def finals(lines: list[Value], row: str = "soft_moe") -> list[Value]:
    return [record["scores"] for record in records_of(lines, "final", row)]


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


@pytest.mark.parametrize("name", [manifest.NAME, VERIFICATION, "records.jsonl"])
def test_a_file_that_never_ends_is_no_file(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to("/dev/zero")
    ran = CliRunner().invoke(cli, ["verify", str(copy)], standalone_mode=False)
    assert "is not a file" in f"{ran.exception}{ran.output}"


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
    told: float | None = 0.9,
    found: float | None = 0.9,
    statuses: tuple[str, str] = ("done", "done"),
    others: tuple[str, ...] = (),
) -> Again:
    number = Number("test_accuracy", told, found, 0.02)
    return Again("a", (number,), statuses, others if told == found else ("test_accuracy",), "x")


def test_a_run_that_now_fails_does_not_agree_with_one_that_diverged() -> None:
    """Neither has a score, and that is all they have in common."""
    assert of_another_machine().agrees
    assert of_another_machine(found=0.885).agrees
    assert not of_another_machine(found=0.87).agrees
    assert of_another_machine(told=None, found=None, statuses=("diverged", "diverged")).exactly
    assert not of_another_machine(told=None, found=None, statuses=("diverged", "oom")).agrees
    assert not of_another_machine(told=None, statuses=("diverged", "done")).agrees


def of_suite(own: Suite, protocol: str = "1") -> list[str]:
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
    assert of_suite(quick(seeds=8), "1 (seeds=8)") == []
    assert "make '1'" in of_suite(quick(), "1 (seeds=3)")[0], "the suite's own number is no change"


def test_a_suite_of_ones_own_has_nothing_to_be_compared_with(copy: Path) -> None:
    assert findings(copy, "suite") == {}
