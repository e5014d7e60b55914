"""What another author's code does to the command: nothing. It ends as a row, a check or a sentence with its reason."""

import contextlib
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import moebench.runner.watch as watch
from moebench.apart import VARIABLE, ApartError, apart, outcome
from moebench.checks.run import run_checks
from moebench.cli.main import cli
from moebench.errors import PluginError
from moebench.publish.write import _conformance
from moebench.records import Store
from moebench.records.conformance import Conformance, keep_conformance
from tiny import run_tiny, write_plugin, write_suite

CRASH = "os.kill(os.getpid(), 11)"
STOP = "os.kill(os.getpid(), signal.SIGSTOP)"
HOLD = "ctypes.PyDLL(None).sleep(1000)"  # a call by PyDLL keeps the interpreter's lock
BAD = {
    "exits": ("os._exit(0)", "exit code 0"),
    "crashes": (CRASH, "signal 11"),
    "ends": ("raise SystemExit(0)", "SystemExit"),
    "sleeps": ("time.sleep(1000)", "took longer than"),
    "stops": (STOP, "took longer than"),
    "holds": (HOLD, "took longer than"),
    "mumbles": ("raise Mute()", "its text cannot be had"),
    "shouts": ("raise ValueError('x' * 50_000_000)", "xxx"),
}
HEAD = """
import ctypes, os, signal, time

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")
"""


def plugin(folder: Path, row: str, *, at_import: str = "pass", in_build: str = "pass") -> str:
    spec = write_plugin(folder, row)
    path = Path(spec.rpartition(":")[0])
    text = path.read_text().replace("        return Plain", f"        {in_build}\n        return Plain")
    path.write_text(f"{HEAD}\n{at_import}\n{text}")
    return spec


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A suite with plug-ins that misbehave when they are imported or built; its session, and how long it took."""
    folder = tmp_path_factory.mktemp("bad")
    suite = write_suite(folder, steps=2)
    specs = [plugin(folder, f"{name}_early", at_import=line) for name, (line, _) in BAD.items()]
    specs += [plugin(folder, f"{name}_late", in_build=line) for name, (line, _) in BAD.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "6")
        began = time.monotonic()
        rows = (*specs, "soft_moe")  # beside which dense is trained
        session = run_tiny(suite, folder / "results", variants=rows, trials=1, seeds=1)
    return session, time.monotonic() - began


@pytest.mark.parametrize("when", ["early", "late"])
@pytest.mark.parametrize("name", BAD)
def test_a_plug_in_that_misbehaves_is_a_row_with_its_reason(ran, name, when):
    session, _ = ran
    reasons = {entry.variant: entry.reason for entry in session.board.entries}
    said = reasons[f"{name}_{when}"].sentence
    assert BAD[name][1] in said
    assert len(said) < 800
    assert reasons["dense"] is None
    assert any(label.startswith(f"{name}_{when}") for label, *_ in session.unfinished)


def test_an_object_that_does_not_come_back_is_a_row(tmp_path, monkeypatch):
    from moebench import run
    from slow_to_build import Slow  # beside the plug-ins of these tests

    monkeypatch.setenv(VARIABLE, "3")
    board = run(
        write_suite(tmp_path, steps=2), [Slow()], trials=1, seeds=1, results=tmp_path / "r", mlflow=False, quiet=True
    )
    (row,) = [entry for entry in board.entries if entry.variant == "slow"]
    assert "took longer than 3 seconds" in row.reason.sentence


def test_an_object_whose_checks_do_not_come_back_is_a_row_that_is_not_trained(tmp_path, monkeypatch):
    from moebench import run
    from slow_to_build import SlowToAnswer

    monkeypatch.setenv(VARIABLE, "4")
    board = run(
        write_suite(tmp_path, steps=2),
        ["soft_moe", SlowToAnswer()],
        trials=1,
        seeds=1,
        results=tmp_path / "r",
        mlflow=False,
        quiet=True,
    )
    rows = {entry.variant: entry for entry in board.entries}
    said = rows["slow_to_answer"].reason.sentence
    assert said.startswith("slow_to_answer: the check ")
    assert "took longer than 4 seconds" in said
    assert {name: row.rank is None for name, row in rows.items()} == {
        "dense": False,
        "soft_moe": False,
        "slow_to_answer": True,
    }
    trained = {record.cell["variant"] for record in Store(tmp_path / "r").records() if record.cell["kind"] != "latency"}
    assert "slow_to_answer" not in trained


def test_a_row_whose_checks_did_not_come_back_is_ranked_where_it_was_trained_unchecked(tmp_path):
    """With ``--no-check``, for example on a machine that is faster. It says that it holds few, and cannot be published
    so: publishing checks it again.
    """
    results, spec = tmp_path / "r", write_plugin(tmp_path, "mine")
    suite = write_suite(tmp_path, steps=2)
    session = run_tiny(suite, results, variants=[spec], trials=1, seeds=1, check=False)
    (row,) = [row for row in session.plans[0].rows if row.name == "mine"]
    keep_conformance(results, row.code_digest, Conformance(holds=3, of=60, failed=("causality",), stopped="too long"))
    again = run_tiny(suite, results, variants=[spec], trials=1, seeds=1, check=False)
    mine = again.board.entry("mine")
    assert mine.rank is not None
    assert [flag.code for flag in mine.flags if flag.code == "checks_fail"]
    assert _conformance(session.plans[0], results)[row.code_digest].complete


@pytest.mark.parametrize("name", ["exits", "crashes", "sleeps", "stops", "mumbles"])
def test_check_reports_what_ends_its_process(tmp_path, monkeypatch, name):
    monkeypatch.setenv(VARIABLE, "3")
    line, words = BAD[name]
    early = run_checks(plugin(tmp_path, "early", at_import=line), ["output_shape"])
    assert words in early.problem
    late = run_checks(plugin(tmp_path, "late", in_build=line))
    assert words in late.failures[-1].message


def test_check_of_a_file_has_the_rows_of_a_check_here(tmp_path):
    spec = write_plugin(tmp_path, "mine")
    names = ["budget", "determinism"]
    known = [name for name in run_checks("dense").rows if name.name.startswith(tuple(names))][:3]
    only = [row.name for row in known]
    started = []
    report = run_checks(spec, only, on_start=started.append)
    assert [row.name for row in report.rows] == started == only
    assert report.holds


def moebench(*words):
    return CliRunner().invoke(cli, [*map(str, words)], standalone_mode=False)


@pytest.mark.parametrize("name", ["exits", "crashes", "sleeps"])
def test_a_task_that_ends_the_process_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.setenv(VARIABLE, "3")
    (tmp_path / "task.py").write_text(f"{HEAD}\n{BAD[name][0]}\nclass Mine:\n    pass\n")
    suite = write_suite(tmp_path, task="task.py:Mine")
    done = moebench("plan", suite, "--results", tmp_path / "results")
    assert isinstance(done.exception, PluginError)
    assert done.exception.code == "import-ended"
    assert BAD[name][1] in str(done.exception)


LEAVES = """
import subprocess, threading
left = []

def leave():
    if left:
        return
    left.append(1)
    threading.Thread(target=time.sleep, args=(1000,)).start()
    note(subprocess.Popen(["sleep", "1000"], close_fds=False).pid)
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            note(os.getpid())
            time.sleep(1000)
        os._exit(0)
    {then}

def note(pid):
    with open({notes!r}, "a") as file:
        file.write(f"{{pid}}\\n")
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="Linux only")
@pytest.mark.parametrize("then", ["pass", "os._exit(3)", CRASH], ids=["done", "exits", "crashes"])
def test_what_a_plug_in_leaves_holds_up_nothing_and_ends(tmp_path, then):
    notes = tmp_path / "pids"
    spec = write_plugin(tmp_path, "leaves", in_training="leave()")
    path = Path(spec.rpartition(":")[0])
    path.write_text(HEAD + LEAVES.format(notes=str(notes), then=then) + path.read_text())
    session = run_tiny(write_suite(tmp_path, steps=2), tmp_path / "results", variants=(spec,), trials=1, seeds=1)
    done = {record.cell["variant"] for record in Store(tmp_path / "results").records() if record.status == "done"}
    assert ("leaves" in done) == (then == "pass")
    assert {entry.variant: entry.rank for entry in session.board.entries}["dense"] is not None
    pids = [int(line) for line in notes.read_text().split()]
    assert len(pids) >= (2 if then == "pass" else 1)
    assert not [pid for pid in pids if alive(pid)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("line", [STOP, HOLD, "time.sleep(1000)"], ids=["stops", "holds", "sleeps"])
def test_a_run_that_does_not_go_on_is_ended(tmp_path, monkeypatch, line):
    monkeypatch.setattr(watch, "IDLE", 4.0)
    spec = write_plugin(tmp_path, "idle", in_training=line)
    path = Path(spec.rpartition(":")[0])
    path.write_text(f"{HEAD}\n{path.read_text()}")
    began = time.monotonic()
    session = run_tiny(write_suite(tmp_path, steps=2), tmp_path / "results", variants=(spec,), trials=1, seeds=1)
    assert time.monotonic() - began < 200
    ((status, reason),) = [(s, r) for label, s, r in session.unfinished if "trial 0" in label]
    assert status == "timeout"
    assert "nor used a processor for 4 seconds" in reason


@pytest.mark.parametrize("shift", [-1e6, 1e6])
def test_the_clock_of_a_file_server_ends_no_run(tmp_path, shift):
    from moebench.runner.options import RunLimits

    log = tmp_path / "log"
    log.touch()
    seen = watch.Watch(os.getpid(), log)
    for step in range(3):
        stamp = time.time() + shift + step
        os.utime(log, (stamp, stamp))
        assert seen.ended_by(RunLimits(silence=0.2)) is None
        time.sleep(0.15)
    time.sleep(0.2)
    assert seen.ended_by(RunLimits(silence=0.2)) is not None


def three():
    yield 1
    yield {"a": [1.5, None]}
    yield os.getcwd()


def garbage():
    os.write(max(int(each) for each in os.listdir("/proc/self/fd")) - 1, b"{not json\n")
    for fd in range(3, 40):
        with contextlib.suppress(OSError):
            os.write(fd, b"{not json\n")
    yield 1


def test_answers_come_in_order_from_an_empty_directory_of_its_own():
    first, second, place = apart(three)
    assert (first, second) == (1, {"a": [1.5, None]})
    assert Path(place).resolve() != Path.cwd()


def test_what_is_written_into_the_answers_is_no_answer():
    with pytest.raises(ApartError):
        outcome(garbage)
