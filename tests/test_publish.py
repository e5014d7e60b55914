"""Publishing a real small run, reading it, checking it, and using it again."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from boards import small_board
from moebench import load_board, machine
from moebench.board import TEXTS
from moebench.budgets.flops import flops_at
from moebench.checks import CheckReport, CheckResult
from moebench.cli.main import cli
from moebench.contract import LayerShape
from moebench.errors import DeviceError, MoebenchError, ResultsError, UsageError
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.protocol import EARLIER, PROTOCOL
from moebench.publish import Submission, compare_directories, manifest, pack, published_board, reuse
from moebench.publish.__main__ import main as write_again
from moebench.publish.checks import CHECKS
from moebench.publish.index import to_markdown, write_index
from moebench.publish.rerun import chosen, rerun
from moebench.publish.sources import open_results
from moebench.publish.write import publish
from moebench.records import Store
from moebench.records.canonical import digest
from moebench.records.record import SCHEMA
from moebench.records.schema import current_schema, schema_of
from moebench.runner.job import Job
from publications import copied, findings, lines_of, records_of, run_and_publish, write_lines
from tiny import run_tiny, write_plugin, write_suite


@pytest.fixture
def world() -> Path:
    """A suite run for real with a variant from a file, in ``r``, and published to ``p``."""
    return run_and_publish()


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """A copy of the published directory that a test may spoil."""
    return copied(world, tmp_path)


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


def test_boards_are_written_again_and_a_directory_that_is_not_there_is_not_made(copy: Path, tmp_path: Path) -> None:
    (copy / "board.md").write_text("old")
    words = [sys.executable, "-m", "moebench.publish", str(copy), str(tmp_path / "not_there")]
    refused = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"moebench: there is no directory '{tmp_path / 'not_there'}'.\n"
    assert not (tmp_path / "not_there").exists()
    assert (copy / "board.md").read_text() == "old", "nothing was written"
    write_again([copy])
    assert (copy / "board.md").read_text() == TEXTS["md"](load_board(copy))


def test_publishing_again_leaves_nothing_of_the_publication_before(world: Path, tmp_path: Path) -> None:
    done = publish(open_results(world / "r"), tmp_path / "p")
    (done.directory / "variants" / "gone.py").write_text("# of a row that is there no more")
    (done.directory / "verification.json").write_text('{"runs": 12, "rerun": 1, "agreed": 1, "device": "mine"}')
    publish(open_results(world / "r"), tmp_path / "p")
    assert findings(done.directory) == {}
    assert not (done.directory / "verification.json").exists(), "it was of other records, for all anybody knows"


def test_what_is_forgotten_and_what_is_left_alone_is_said(world: Path, tmp_path: Path) -> None:
    words = ["publish", "tiny", "--results", str(world / "r"), "--to", str(tmp_path / "p")]
    first = CliRunner().invoke(cli, words, standalone_mode=False)
    assert "are removed" not in first.output
    (directory,) = (tmp_path / "p" / "tiny").iterdir()
    (directory / "verification.json").write_text("{}")
    (tmp_path / "p" / "README.md").write_text("# My own\n")
    second = CliRunner().invoke(cli, words, standalone_mode=False)
    assert "the re-runs of the board before were of other records, and are removed" in second.output
    assert "README.md is no index, and was left as it is" in second.output


def test_a_board_with_other_rows_is_not_replaced_unasked(world: Path, tmp_path: Path) -> None:
    done = publish(open_results(world / "r"), tmp_path / "p")
    kept = (done.directory / pack.NAME).read_bytes()
    results = open_results(world / "r")
    rows = tuple(row for row in results.plan.rows if row.name != "mine")
    groups = tuple(group for group in results.plan.groups if group.row != "mine")
    fewer = dataclasses.replace(results, plan=dataclasses.replace(results.plan, rows=rows, groups=groups))
    with pytest.raises(ResultsError) as caught:
        publish(fewer, tmp_path / "p")
    assert (caught.value.code, caught.value.facts["rows"]) == ("rows-would-be-lost", ["mine"])
    assert (done.directory / pack.NAME).read_bytes() == kept
    assert publish(fewer, tmp_path / "p", replace=True).rows == 2
    assert publish(results, tmp_path / "p").rows == 3, "nothing is lost for a board with more rows"


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
    assert code_of(publish, open_results(results), tmp_path / "p") == "latency-not-measured"
    for group in plan.groups_of("dense"):
        store.record_path(group.trial_cells[0].identity).unlink()
    assert code_of(publish, open_results(results), tmp_path / "p") == "baseline-incomplete"


def test_which_runs_are_re_run_follows_from_the_records(copy: Path) -> None:
    submission = Submission.read(copy)
    before = chosen(submission, 12)
    assert len(set(before)) == 12 == len(submission.training)
    kinds = [submission.training[identity][1].kind for identity in before]
    assert kinds[:6] == ["final", "trial"] * 3, "finals make the board, trials decide of what"
    assert chosen(submission, 12, "a word") != before, "a reviewer's word chooses others"
    assert chosen(Submission.read(copy), 4) == before[:4]
    lines = lines_of(copy)
    records_of(lines, "final")[0]["provenance"]["seconds"] += 1
    write_lines(copy, lines)
    assert chosen(Submission.read(copy), 12) != before


def test_the_command_line_checks_runs_again_and_says_so_on_the_page(copy: Path) -> None:
    index = write_index(copy.parents[1])
    ran = CliRunner().invoke(cli, ["verify", str(copy), "--rerun", "1", "--pick", "blue"], standalone_mode=False)
    assert ran.return_value == 0, ran.output
    assert "3 rows, 13 records: holds" in ran.output
    page = (copy / "board.html").read_text()
    assert "Re-run, according to verification.json: 1 of 12 training runs on " in page
    assert "chosen by the digest of the records and a word of the reviewer; 1 of 1 agreed, all of them to the" in page
    ran = CliRunner().invoke(cli, ["verify", str(copy)], standalone_mode=False)
    assert "1 of 12 runs were run again on" in ran.output
    assert "only --rerun N sees it here" in ran.output
    assert "| 1 of 12 |" in index.read_text()
    assert findings(copy, "files", "boards") == {}
    (copy / "board.md").write_text("# Mine is best\n")
    ran = CliRunner().invoke(cli, ["verify", str(copy), "--rerun", "1"], standalone_mode=False)
    assert ran.return_value == 1
    assert "board.md is not what the records give" in ran.output
    assert "nothing is run again before the checks hold" in ran.output


def code_of(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(MoebenchError) as caught:
        call(*arguments)
    return caught.value.code


def test_a_path_that_is_no_publication_has_a_code_for_what_it_is(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "track").mkdir()
    (tmp_path / "track" / "report.md").write_text("# Claims\n")
    assert code_of(load_board, copy.parent) == "boards-are-below"
    assert code_of(load_board, tmp_path / "track") == "report-without-board"
    assert code_of(load_board, tmp_path) == code_of(Submission.read, tmp_path) == "not-published"
    assert code_of(load_board, tmp_path / "quick") == "no-directory-or-suite"
    assert code_of(open_results, tmp_path / "none") == "no-directory"
    assert code_of(open_results, tmp_path) == "nothing-ran"
    assert code_of(open_results, copy, "quick") == "another-suite"


def test_a_damaged_pack_names_the_line(copy: Path) -> None:
    lines = lines_of(copy)
    lines[3]["schema_version"] = 2
    write_lines(copy, lines)
    with pytest.raises(
        ResultsError, match="damaged at line 4: a record of schema version 2, and this moebench reads 1"
    ) as caught:
        Submission.read(copy)
    assert (caught.value.code, caught.value.facts["line"]) == ("damaged-pack", 4)
    (copy / pack.NAME).write_text("{}\n")
    assert code_of(Submission.read, copy) == "damaged-pack"
    (copy / manifest.NAME).write_text("{}\n")
    assert code_of(Submission.read, copy) == "not-a-manifest"


def test_a_word_without_runs_to_choose_is_wrong_use(copy: Path) -> None:
    with pytest.raises(UsageError, match="give --rerun N with it"):
        CliRunner().invoke(cli, ["verify", str(copy), "--pick", "x"], standalone_mode=False, catch_exceptions=False)


def test_the_schema_in_the_package_is_the_one_that_the_code_gives() -> None:
    assert schema_of(SCHEMA) == current_schema()


def test_a_misspelt_suite_is_unknown(world: Path) -> None:
    assert code_of(open_results, world / "r", "tyni") == "unknown-suite"


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
    (root / "findings.md").write_text("## Findings\n\nDense wins.\n")
    text = write_index(root).read_text()
    assert "|\n\n## Findings\n\nDense wins.\n\n" in text
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
    assert line.endswith("| 1: 0.976 ±0.003 | 1: 0.976 ±0.003 |")
    fewer = dataclasses.replace(boards[1][1], protocol="1 (seeds=2)", seeds=2)
    text = to_markdown([boards[0], (Path("flops/there"), fewer)])
    assert "expert layers (total), 3 seeds | " in text
    assert "in the expert layers, 2 seeds |" in text, "a mean of fewer seeds is on the same scale"
    shorter = dataclasses.replace(boards[1][1], protocol="1 (trials=2)")
    assert "side by side" not in to_markdown([boards[0], (Path("flops/there"), shorter)])
    other = small_board(tmp_path / "other", axis="total").board()
    other = dataclasses.replace(other, device="another")
    assert "side by side" not in to_markdown([boards[0], (Path("other/there"), other)])


def test_a_suite_whose_trials_follow_from_each_other_holds(tmp_path: Path) -> None:
    """The generations of TPE are told in order, so they are the same when they are planned again."""
    suite = Path(write_suite(tmp_path))
    suite.write_text(suite.read_text().replace("trials = 2", 'trials = 4\nsampler = "tpe"\ngeneration = 2'))
    session = run_tiny(str(suite), tmp_path / "r", variants=())
    assert not session.unfinished
    done = publish(open_results(tmp_path / "r", "tiny"), tmp_path / "p")
    assert findings(done.directory) == {}


def test_training_flops_are_those_that_happened_where_tokens_choose_how_many_experts_act(tmp_path: Path) -> None:
    """They differ from run to run, between those of no expert and of all."""
    suite = Path(write_suite(tmp_path))
    text = suite.read_text().replace('"soft_moe"]', '"soft_moe", "remoe"]')
    suite.write_text(f"{text}\n[space.remoe]\nexperts = [4]\n")
    run_tiny(str(suite), tmp_path / "r", variants=("remoe",), trials=1, seeds=2)
    of_remoe = [each for each in Store(tmp_path / "r").records() if each.cell.get("variant") == "remoe"]
    assert len({each.counts["training_flops"] for each in of_remoe}) > 1
    done = publish(open_results(tmp_path / "r", "tiny"), tmp_path / "p")
    assert findings(done.directory) == {}


def test_latency_of_other_versions_is_a_sentence_that_names_them(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine.versions()
    monkeypatch.setattr(machine, "versions", lambda: here | {"torch": "9.9.9"})
    monkeypatch.chdir(world)
    with pytest.raises(ResultsError) as caught:
        publish(open_results(world / "r", "tiny"), tmp_path / "p")
    assert caught.value.code == "latency-of-other-versions"
    sentence = (
        f"latency on 'digits' was measured with torch {here['torch']}, and here 9.9.9; publish with those versions"
    )
    assert str(caught.value).startswith(sentence)
    assert not (tmp_path / "p").exists()


OF_WEIGHTS = """
from torch import nn
from moebench.contract import Layer, Routing, Variant


class OfWeights(Layer):
    def __init__(self, shape, hidden):
        super().__init__()
        self.gate = nn.Linear(shape.dim, 1)
        self.a, self.b = nn.Linear(shape.dim, hidden), nn.Linear(hidden, shape.out_dim)

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        chosen_BT = self.gate(x_BTD).squeeze(-1) > 0
        y_BTO = x_BTD * self.gate(x_BTD)
        return y_BTO.masked_scatter(chosen_BT[..., None], self.b(self.a(x_BTD[chosen_BT]).relu()))


class Mine(Variant):
    name = "of_weights"

    def build(self, shape, size):
        return OfWeights(shape, size)
"""


def test_a_layer_whose_flops_follow_its_weights_is_published_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_weights.py").write_text(OF_WEIGHTS)
    spec = f"{tmp_path}/of_weights.py:Mine"
    shape = LayerShape(dim=16, out_dim=16, tokens=4)
    assert len({flops_at(load_variant(find_variant(spec)), shape, 8, {}, seed) for seed in range(6)}) > 1
    run_tiny(write_suite(tmp_path), tmp_path / "r", variants=(spec,), trials=1, seeds=1)
    holds = CheckReport("of_weights", (CheckResult("deepcopy", "holds"),))
    monkeypatch.setattr("moebench.checks.run.run_checks", lambda spec: holds)
    done = publish(open_results(tmp_path / "r", "tiny"), tmp_path / "p")
    assert [name for name, _ in done.left_out] == ["soft_moe"], "it did not run"
    assert findings(done.directory) == {}


def test_a_reference_row_from_a_file_is_published_with_its_file(tmp_path: Path) -> None:
    suite, plugin = Path(write_suite(tmp_path)), write_plugin(tmp_path, "mine")
    reference = f'[[reference]]\nname = "beside"\nvariant = "{plugin}"\nnote = "from a file"\n\n[host]'
    suite.write_text(suite.read_text().replace("[host]", reference))
    assert not run_tiny(str(suite), tmp_path / "r", variants=()).unfinished
    done = publish(open_results(tmp_path / "r", "tiny"), tmp_path / "p")
    assert findings(done.directory) == {}
    assert str(tmp_path) not in (done.directory / pack.NAME).read_text(), "nothing says where it was made"


def on_cuda(directory: Path) -> Submission:
    submission = Submission.read(directory)
    device = {"type": "cuda", "name": "a test's card", "torch": "cuda:0"}
    plan = dataclasses.replace(submission.plan, device=device)
    return dataclasses.replace(submission, pack=dataclasses.replace(submission.pack, plan=plan))


def test_runs_of_a_card_are_not_run_again_on_the_processor(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = on_cuda(copy)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told: list[str] = []
    with pytest.raises(DeviceError) as caught:
        list(rerun(submission, 1, tmp_path / "none", told.append))
    assert caught.value.code == "rerun-needs-cuda"
    assert not told, "nothing was trained"

    class StartedError(Exception):
        """A worker would be started now."""

    def start(work: object, job: Job, *arguments: object, **options: object) -> None:
        raise StartedError(job.device)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("moebench.runner.executors.local.start", start)
    with pytest.raises(StartedError, match="cuda:0"):
        list(rerun(submission, 1, tmp_path / "two", told.append))


def test_a_run_that_timed_out_here_does_not_stand_before_the_published_one(copy: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    store.prepare()
    submission = Submission.read(copy)
    identity = next(iter(submission.training))
    published = submission.pack.get(identity)
    assert published is not None
    store.put(published.model_copy(update={"status": "timeout", "reason": "too long", "scores": {}}))
    assert reuse(copy, store) == 13
    assert store.get(identity) == published


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


BOARDS = Path(__file__).parent.parent / "results" / "published"
OLD = BOARDS / "protocol-1"


@pytest.mark.parametrize("suite", sorted(path.parent.parent.name for path in BOARDS.glob("*/*/records.jsonl")))
def test_a_published_board_is_what_is_planned_here_and_its_pages_what_its_records_give(suite: str) -> None:
    """The plan is made again of those whose data are everywhere."""
    more = ("plan",) if suite in ("quick-all", "controls-all") else ()
    for directory in BOARDS.glob(f"{suite}/*/"):
        if (directory / "records.jsonl").exists():
            assert findings(directory, "files", "rows", "records", "suite", "boards", *more) == {}


@pytest.mark.parametrize("suite", ["quick-all", "standard", "standard-flops"])
def test_a_board_of_an_earlier_protocol_is_verified_as_far_as_this_version_can(suite: str) -> None:
    """And says of its runs in one sentence that they cannot be repeated."""
    (directory,) = (OLD / suite).iterdir()
    assert published_board(directory).protocol == "1"
    ran = CliRunner().invoke(cli, ["verify", str(directory)], standalone_mode=False)
    assert ran.return_value == 0, ran.output
    lines = [line.partition(" ") for line in ran.output.splitlines()]
    made = {name: "not made" not in rest for name, _, rest in lines if name in CHECKS}
    assert made == {name: name not in ("suite", "plan", "counts", "conformance") for name in CHECKS}
    assert f"protocol 1 cannot be repeated by this version, which has protocol {PROTOCOL}." in ran.output
    refused = CliRunner().invoke(cli, ["verify", str(directory), "--rerun", "1"], standalone_mode=False)
    assert isinstance(refused.exception, ResultsError)
    assert refused.exception.code == "rerun-of-earlier-protocol"


def test_boards_of_an_earlier_protocol_are_off_the_front_page() -> None:
    front, old = (BOARDS / "README.md").read_text(), (OLD / "README.md").read_text()
    assert f"[Boards of protocol 1](protocol-1/README.md) ({EARLIER['1']})." in front
    assert "protocol-1/quick-all" not in front
    assert old.startswith("# Published boards of protocol 1\n")
    assert "(quick-all/cpu-amd-epyc/board.html)" in old


def test_the_front_page_and_that_of_an_earlier_protocol_are_made_of_what_lies_there(copy: Path) -> None:
    root = copy.parents[1]
    shutil.copytree(copy.parent, root / "protocol-1" / "tiny")
    assert write_index(root / "protocol-1").read_text().startswith("# Published boards of protocol 1\n")
    front = write_index(root).read_text()
    assert front.count("board.html") == 1
    assert front.startswith("# Published boards\n")
    assert front.endswith(f"[Boards of protocol 1](protocol-1/README.md) ({EARLIER['1']}).\n")


def test_rows_of_two_protocols_are_not_compared(tmp_path: Path) -> None:
    (directory,) = (OLD / "quick-all").iterdir()
    found = compare_directories(directory, of_protocol("2", directory, tmp_path / "b"))
    assert set(found.counts) == {"not comparable"}


def of_protocol(protocol: str, directory: Path, to: Path) -> Path:
    """A copy of a published directory whose runs are of another protocol."""
    lines = lines_of(directory)
    lines[0]["plan"]["protocol"] = protocol
    for group in lines[0]["plan"]["groups"]:
        group["template"]["protocol"] = protocol
    for line in lines[1:]:
        line["cell"]["protocol"] = protocol
        line["identity"] = digest(line["cell"])
    shutil.copytree(directory, to)
    write_lines(to, lines)
    return to
