"""Every command that README, docs and the program name is executed, with suites of a moment in place of the long ones.

Where it runs: a directory with what the pages leave to their reader, such as ``mine.py``. Runs train one step, in this
process; three checks stand for all of them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from clicks import write_clicks
from moebench.checks.run import all_checks
from moebench.cli.main import COMMANDS, cli
from moebench.cli.verbosity import ONLY_RESULTS
from moebench.publish import brought
from moebench.records import Cell, Record, Store
from moebench.runner.executors import local
from moebench.runner.executors.base import Tick
from moebench.runner.job import Job
from moebench.runner.latency_session import MEMORY
from moebench.runner.latency_worker import _prepare
from moebench.runner.outcomes import provenance
from moebench.runner.run_cell import run_cell
from moebench.suites import find_suites
from test_snippets import ALL, PAGES, ROOT, blocks
from tiny import write_plugin, write_suite

ELSEWHERE = {
    r"moebench ui": "serves until it is interrupted; tests/browser opens it",
    r"moebench sync": "MLflow's database takes its time; tests/test_mlflow_commands.py writes it",
    r"moebench .* --executor (ray|slurm)": "needs a cluster; tests/cluster starts them",
    r"moebench .* --ranks 4": "needs four GPUs; tests/test_training_distributed.py trains in ranks on the CPU",
    r"moebench .*(--variant|check) my_layer( |$)": "needs the package installed; tests/install installs it",
    r"moebench run paper-gpu": "needs a GPU; tests/test_paper_gpu.py plans it",
    r"moebench report($| (?!\S+ --packs (?!DIR|.*NAME)))": "needs records of a long study, whose tests make it",
    r"python -m pip (install|download)|ray start|tox run": "fetches, or starts servers; tests/install does the first",
}
"""Commands that are not executed here: a pattern of their words, and why."""

ASIDE = {"moebench check my_moe.py:MyMoE": "wrap("}
"""Commands that a page shows for the sentence that refuses them: words of it."""

PUBLISHED = "results/published/quick-all/cpu-amd-epyc"
STATUSES = {"compare": (0, 1)}
"""Exit statuses that are right, where not 0 alone."""

FIXED = """
title = "A row of fixed settings"
axis = "total"
seeds = 1
full_seeds = 2

[host]
name = "vit"
dim = 16
depth = 1
heads = 2
patch = 4

[training]
steps = 1
batch = 16
optimiser = "adam"
lr = 1e-3

[[row]]
name = "dense"
variant = "dense"
task = "digits"
budget = 20_000
"""
TEXT = """
title = "A few words"
axis = "total"
budgets = [20_000]
seeds = 2
variants = ["sparse_topk"]

[[task]]
name = "text"
settings = { window = 16 }

[host]
name = "decoder"
dim = 16
depth = 1
heads = 2

[training]
steps = 1
batch = 16

[tuning]
trials = 1
lr = { low = 1e-3, high = 1e-2, default = 3e-3 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }

[latency]
batch = 2
rounds = 6
repeats = 1

[space.sparse_topk]
experts = [4]
"""


def words_of(text: str) -> str:
    """A command without the comment after it, or the sentence around it."""
    return re.split(r"\s(?:#|>>|\||\(|until|the |write |of )", text)[0].replace("\\n", "").strip()


def why_elsewhere(words: str) -> str:
    return next((why for pattern, why in ELSEWHERE.items() if re.match(pattern, words)), "")


def is_whole(words: str) -> bool:
    """Whether it is a command, and not only the name of one."""
    return len(words.split()) > 2 or words in ("moebench list", "moebench report")


EVERY = sorted({words for _, text in ALL if is_whole(words := words_of(text))})
EXECUTED = [words for words in EVERY if not why_elsewhere(words)]


class Here(local.LocalExecutor):
    """Trains and measures time in this process, at once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ended: list[tuple[Job, Record]] = []

    @property
    def running(self) -> list[Job]:
        return [job for job, _ in self._ended]

    def has_room(self) -> bool:
        return not self._ended

    def submit(self, job: Job) -> None:
        record = run_cell(job)
        assert record.status == "done", record.reason
        self._ended.append((job, record))

    def wait(self, seconds: float) -> list[tuple[Job, Record | None]]:
        ended, self._ended = self._ended, []
        return [*ended]

    def measure(self, cell: Cell, jobs: Sequence[Job], tick: Tick) -> Record:
        finalists = {}
        for job in jobs:
            watch, about = _prepare(job, cell.batch, cell.session["repeats"])
            assert watch is not None
            rounds = [watch.measure() for _ in range(cell.session["rounds"])]
            times = {name: [each[name] for each in rounds] for name in rounds[0]}
            finalists[job.cell.identity] = {"row": job.row, **dict.fromkeys(MEMORY), **about, **times}
        record = Record(
            identity=cell.identity,
            cell=cell.to_json(),
            status="done",
            details={"finalists": finalists},
            provenance=provenance(jobs[0], cell.session["device"], datetime.now(UTC), 1.0) | {"row": ""},
        )
        Store(jobs[0].results).put(record)
        return record


@dataclass
class World:
    """The directory, and a record of each kind that a command may ask for."""

    root: Path
    record: str = ""
    language: str = ""

    def call(self, words: str, *more: str) -> click.testing.Result:
        """The result of a command, its placeholders filled in."""
        filled = words.replace("/shared", str(self.root)).replace(PACKS, f"--packs {ROOT}/results/published/")
        name = filled.split()[1]
        places = {
            "RECORD": self.language if name == "sample" else self.record,
            "DIR": "site" if name == "site" else PUBLISHED,
            **{"A": "results", "B": PUBLISHED, "OTHER": "results-main", "SUITE": "quick", "WORD": "mine"},
            **{"NAME": "dense", "R": "1.5", "N": "100000"},
        }
        # A hint that names what it is about has the name of a suite here: see ``hints`` in test_snippets.py.
        places |= {"check": {"quick": "mine.py:Mine"}, "verify": {"quick": PUBLISHED}}.get(name, {})
        given = [places.get(each, each) for each in shlex.split(filled)[1:]]
        given = [os.path.expanduser(each) for each in given] + (["--no-mlflow"] if name == "run" else [])
        with pytest.MonkeyPatch.context() as patch:
            if name == "report":  # claims are of the real suites
                patch.setattr("moebench.suites.load.find_suites", find_suites)
            return CliRunner().invoke(cli, [*given, *more], standalone_mode=False)


PACKS = "--packs results/published/"
"""Of reports: the real ones, not what is published in the world."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("reader")
    suites = {name: stand_in(root, name) for name in find_suites()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("HOME", str(root))
        patch.setattr("moebench.tasks.tokens.cache_dir", lambda: root / "cache")
        patch.setattr("moebench.suites.load.find_suites", lambda: suites)
        patch.setattr(local, "LocalExecutor", Here)
        patch.setattr("moebench.publish.rerun.LocalExecutor", Here)
        patch.setattr("moebench.checks.run.chosen_checks", lambda only: list(all_checks())[:3])
        patch.setattr(brought, "ROOTS", (root / "brought",))
        write_what_pages_leave_to_the_reader(root)
        made = World(root)
        patch.setenv("MOEBENCH_DATA", str(root / "corpora" / "wikitext"))
        for words in ("run quick-all", "run quick", "run multitask", "run mine.toml"):
            good(made.call(f"moebench {words}"))
        good(made.call("moebench publish quick-all --to results/published"))
        made_here = next(Path("results/published/quick-all").iterdir())
        made_here.rename(root / PUBLISHED)
        for suite in ("quick-all", "standard", "controls-all"):
            good(made.call(f"moebench run {suite} --results published"))
            good(made.call(f"moebench publish {suite} --results published --to brought"))
        for copy in ("results-main", "after", "results-before"):
            shutil.copytree("results", copy)
        made.record, made.language = (
            next(
                record.identity
                for record in Store(root / "results").records()
                if record.cell["kind"] == "final"
                and record.cell["variant"] == "sparse_topk"
                and record.cell["task"].startswith(task)
            )
            for task in ("digits", "text")
        )
        yield made


def stand_in(root: Path, name: str) -> Path:
    """A suite of that name which takes a moment: with a board, or with a row of fixed settings, as the real one."""
    values = tomllib.loads(find_suites()[name].read_text())
    if "tuning" not in values:
        (root / f"{name}.toml").write_text(FIXED)
        return root / f"{name}.toml"
    path = Path(write_suite(root, steps=1, name=name))
    text = path.read_text().replace('"dense", "soft_moe"', '"dense", "sparse_topk"')
    text = text.replace("trials = 2", "trials = 1")
    path.write_text(text.replace("[space.soft_moe]", "[space.sparse_topk]"))
    return path


def write_what_pages_leave_to_the_reader(root: Path) -> None:
    write_plugin(root, "mine")
    shutil.copy(stand_in(root, "quick"), root / "my.toml")
    (root / "mine.toml").write_text(TEXT)
    write_clicks(root)
    corpus = root / "corpora" / "wikitext"
    corpus.mkdir(parents=True)
    for number in range(60):
        (corpus / f"{number:03}.txt").write_text("the quick brown fox " * 40)
    for example in ("my_moe.py", "from_nothing.py"):
        shutil.copy(ROOT / "examples" / example, root)
    good(CliRunner().invoke(cli, ["new", "my_layer", "--to", "packages/my_layer"], standalone_mode=False))
    shutil.copy(root / "packages/my_layer/src/my_layer/layer.py", root / "my_layer.py")


def good(result: click.testing.Result, *statuses: int) -> None:
    status = result.return_value if isinstance(result.return_value, int) else result.exit_code
    assert status in (statuses or (0,)), f"{result.output}\n{result.exception!r}"


@pytest.mark.parametrize("words", EXECUTED)
def test_a_command_of_the_pages_and_of_the_program_is_executed(world: World, words: str) -> None:
    name = words.split()[1]
    for place in ("site", "out", "my_layer"):  # of an earlier one
        shutil.rmtree(place, ignore_errors=True)
    result = world.call(words)
    if expected := ASIDE.get(words):
        good(result, 1)
        assert expected in result.output
        return
    good(result, *STATUSES.get(name, (0,)))


def test_each_command_is_executed_or_has_a_reason_why_not() -> None:
    assert len(EXECUTED) > 50
    for pattern in ELSEWHERE:
        lines = {*EVERY, *(line for _, line in shell_lines()), "moebench ui", "moebench sync"}
        assert any(re.match(pattern, words) for words in lines), f"nothing is like {pattern}"


def shell_lines() -> Iterator[tuple[str, str]]:
    """(where, line) of the blocks that are typed into a shell, but for commands of moebench, which are above."""
    first = re.compile(r"(?:\S*\$ )?((?:moebench|python|tox|eval|ray|pip|git|curl|export) .*)")
    for where, text in blocks("", "console", "bash", "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            if (match := first.fullmatch(line.strip())) and not match[1].startswith("moebench "):
                yield where, re.split(r"\s+#", match[1])[0]


@pytest.mark.parametrize(("where", "line"), [*shell_lines()], ids=[where for where, _ in shell_lines()])
def test_a_line_for_the_shell_is_executed_or_names_what_there_is(where: str, line: str) -> None:
    if not why_elsewhere(line):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-ec", line], env={**os.environ, "PATH": path}, check=True, timeout=60)


def test_environments_of_tox_that_pages_name_are_there() -> None:
    tox = (ROOT / "tox.ini").read_text()
    named = {name for page in PAGES for name in re.findall(r"tox run -e ([a-z0-9-]+)", page.read_text())}
    assert {name for name in named if f"[testenv:{name}]" not in tox} == set()
    assert len(named) > 8


LEVELLED = {
    "run": "run quick",
    "plan": "plan quick",
    "leaderboard": "leaderboard standard --results nothing",
    "compare": "compare results results-main --suite quick",
    "report": f"report generalization --packs {ROOT}/results/published/generalization --to out",
    "list": "list hosts",
    "check": "check mine.py:Mine",
    "subset": "subset RECORD --experts 1 --batch 2",
    "compress": "compress RECORD --experts 1 --steps 1 --inputs 8 --batch 2",
    "sample": "sample RECORD --tokens 3",
    "new": "new my_layer",
    "publish": "publish quick --to pub",
    "site": "site site --published results/published",
    "verify": f"verify {PUBLISHED}",
    "sync": "sync quick",
    "ui": "ui",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_verbose_says_what_is_read_and_quiet_only_leaves_out(world: World, name, monkeypatch) -> None:
    monkeypatch.setattr("moebench.cli.sync._sync", lambda plan, results, report: 0)
    monkeypatch.setattr(
        "moebench.mlflow_store.serve.serve", lambda results, host, port, ready, names: ready("http://x")
    )

    def call(*levels: str) -> click.testing.Result:
        for place in ("site", "out", "my_layer"):
            shutil.rmtree(place, ignore_errors=True)
        result = world.call(f"moebench {LEVELLED[name]}", *levels)
        if isinstance(result.exception, click.NoSuchOption):
            raise result.exception
        good(result, *STATUSES.get(name, (0,)))
        return result

    plain, verbose = call(), call("--verbose")
    added = [line for line in verbose.stderr.splitlines() if re.match(r" +\d+\.\d\d s  ", line)]
    assert added[-1].endswith(f"  {name} has ended")
    assert len(added) > 1, "what it reads or writes"
    assert not re.search(r"^ +\d+\.\d\d s  ", plain.stderr, re.M), "and no longer in the next call"
    if name in ONLY_RESULTS:
        with pytest.raises(click.NoSuchOption):
            call("--quiet")
        return
    quiet = call("--quiet")
    assert set(quiet.output.splitlines()) < set(plain.output.splitlines()) or name in ON_A_TERMINAL
    assert quiet.stdout.strip(), "the result"
    assert all("execute the code" in line for line in quiet.stderr.splitlines()), "which is a warning"


ON_A_TERMINAL = ("check", "verify")
"""What ``--quiet`` leaves out of these is a line about their progress, which a terminal alone shows, or a re-run."""
