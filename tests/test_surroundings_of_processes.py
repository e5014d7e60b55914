"""Where processes stand and import from, what lies among the files, and who does not answer."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from moebench import load_board, processes
from moebench.errors import ResultsError, SuiteError, UsageError
from moebench.files import UnfitFileError, read_bytes
from moebench.mlflow_store import database
from moebench.mlflow_store.database import answered, open_client, tracking_uri
from moebench.publish.manifest import read_manifest
from moebench.publish.pack import read_pack
from moebench.records import Store
from moebench.records.store import parse_json
from moebench.suites.load import load_experiment
from moebench.suites.request import ask
from publications import copied, run_and_publish
from tiny import run_tiny, write_suite

SHADOWS = ("random", "tempfile", "json", "torch", "numpy", "mlflow", "brotli")


def shadowed(folder: Path) -> Path:
    """Modules of well-known names that note that they were executed."""
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'executed')!r}, 'a').write('{name} ')\n")
    return folder


def executed(folder: Path) -> str:
    return (folder / "executed").read_text() if (folder / "executed").exists() else ""


def test_verify_executes_nothing_from_where_it_stands_and_says_what_it_executes(tmp_path):
    directory = copied(run_and_publish(), tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "moebench", "verify", str(directory)],
        cwd=shadowed(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert executed(tmp_path) == ""
    assert "variants/mine.py:Mine" in done.stderr
    assert "execute" in done.stderr


@pytest.mark.parametrize("at", ["task", "host", "plugins"])
def test_a_pack_that_names_a_file_of_a_task_or_host_is_damaged_and_executes_nothing(tmp_path, monkeypatch, at):
    directory = copied(run_and_publish(), tmp_path)
    monkeypatch.chdir(directory)
    (directory / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write('evil ')\n")
    lines = (directory / "records.jsonl").read_text().splitlines()
    head = json.loads(lines[0])
    suite, place = head["plan"]["suite"], "evil.py:Evil"
    if at == "plugins":
        suite["plugins"] = {"digits": place}
    elif at == "task":
        suite["task"][0]["name"] = place
        for group in head["plan"]["groups"]:
            group["task"] = group["template"]["task"] = place
    else:
        suite["host"]["name"] = place
    (directory / "records.jsonl").write_text("\n".join([json.dumps(head), *lines[1:]]))
    with pytest.raises(ResultsError) as caught:
        load_board(directory)
    assert caught.value.code == "damaged-pack"
    assert executed(tmp_path) == ""


def test_a_relative_path_is_found_from_a_directory_of_its_own(tmp_path):
    directory = copied(run_and_publish(), tmp_path)
    words = [sys.executable, "-P", "-m", "moebench", "verify", str(directory.relative_to(tmp_path)), "--rerun", "1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_relative_results_are_those_of_the_directory_that_the_command_is_called_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite = write_suite(tmp_path, steps=2)
    session = run_tiny(suite, Path("results"), variants=("dense",), trials=1, seeds=1)
    assert session.unfinished == ()
    assert len([*(tmp_path / "results" / "records").rglob("*.json")]) == 3


PROMPT = """
import sys, time
from pathlib import Path
from multiprocessing import resource_tracker
from moebench.apart import apart
import printing
print(list(apart(printing.about)))
"""
PRINTING = """
import os, sys, random, tempfile
def about():
    yield [os.getcwd(), sys.path, os.environ.get("PYTHONPATH"), os.environ.get("PYTHONSAFEPATH")]
"""


def test_processes_of_a_prompt_find_its_modules_and_are_not_misled(tmp_path):
    shadowed(tmp_path)
    (tmp_path / "printing.py").write_text(PRINTING)
    code = f"import sys; sys.path.remove(''); import random, tempfile, json; sys.path.insert(0, ''); {PROMPT}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    place, path, pythonpath, safe = eval(done.stdout)[0]
    assert place not in ("", str(tmp_path))
    assert path[-1] == str(tmp_path), "last, where it hides nothing"
    assert str(Path(__file__).parent) in path
    assert (pythonpath, safe) == (str(Path(__file__).parent), None), "as the prompt has them"
    assert executed(tmp_path) == ""


def test_programs_import_nothing_from_where_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(shadowed(tmp_path))
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    words = processes.program("json.tool", "--help")
    done = subprocess.run(words, env=processes.surroundings(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert executed(tmp_path) == ""


@pytest.mark.parametrize("uri", ["sqlite:///mine.db", "file:mine", "./mine"])
def test_a_store_named_from_here_is_the_same_from_elsewhere(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert str(tmp_path) in tracking_uri(tmp_path / "results")


@pytest.mark.parametrize("uri", ["databricks", "http://127.0.0.1:5000", "postgresql://host/name"])
def test_a_store_elsewhere_stays_as_it_is_named(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking_uri(tmp_path) == uri


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(20 << 30)


@pytest.mark.parametrize("odd", [pipe, device, sparse])
def test_what_is_no_sensible_file_is_refused_at_once(tmp_path, odd):
    odd(tmp_path / "file")
    with pytest.raises(UnfitFileError):
        read_bytes(tmp_path / "file")
    store = Store(tmp_path / "results")
    store.prepare()
    for path, read in (
        (store.record_path("ab" * 10), store.get),
        (store.sidecar_path("ab" * 10), store.arrays),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        odd(path)
        assert not read("ab" * 10)
        assert path.with_suffix(".damaged") in store.damaged
    odd(tmp_path / "submission.json")
    odd(tmp_path / "records.jsonl")
    with pytest.raises(ResultsError):
        read_manifest(tmp_path)
    with pytest.raises(ResultsError):
        read_pack(tmp_path / "records.jsonl")
    if odd is not pipe:
        return
    odd(tmp_path / "suite.toml")
    with pytest.raises(SuiteError):
        load_experiment(str(tmp_path / "suite.toml"))


@pytest.mark.parametrize("text", ["1e308", "-1e41", "1e400", "9" * 60, "[" * 100_000, "1" * 10_000])
def test_numbers_that_no_run_gives_and_depths_are_no_record(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(f'{{"a": {text}}}')
    assert parse_json('{"a": [1e38, -5, 0.1, 123456789012345678901234567890]}')


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seeds = 2", "seeds = 1000000000"),
        ("seeds = 2", "seeds = 1" + "0" * 5000),
        ("trials = 2", "trials = 100000000"),
        ("steps = 12", "steps = 1000000000000000"),
        ("rounds = 6", "rounds = 100000000"),
        ('title = "A few steps"', "title = " + "[" * 100_000),
        ('title = "A few steps"', 'title = "' + "x" * 100_000 + '"\ntitel = 1'),
    ],
)
def test_an_absurd_suite_is_one_short_sentence_when_it_is_loaded(tmp_path, old, new):
    path = Path(write_suite(tmp_path))
    path.write_text(path.read_text().replace(old, new))
    began = time.monotonic()
    with pytest.raises(SuiteError) as caught:
        load_experiment(str(path))
    assert time.monotonic() - began < 10
    assert len(str(caught.value)) < 1000


def test_an_absurd_depth_and_absurd_options_are_refused_before_anything_is_planned(tmp_path):
    from moebench.plans.cache import get_plan

    path = Path(write_suite(tmp_path))
    text = path.read_text()
    path.write_text(text.replace("depth = 1", "depth = 1000000000"))
    with pytest.raises(SuiteError, match="at most 1000"):
        get_plan(ask(str(path)).requests[0], tmp_path / "results")
    path.write_text(text)
    for option in ("seeds", "trials"):
        with pytest.raises(UsageError) as caught:
            ask(str(path), **{option: 10**9})
        assert caught.value.code == "count-too-large"


@pytest.fixture
def silent():
    """The address of a server that accepts and does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_store_that_does_not_answer_is_a_sentence(silent, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    import mlflow  # noqa: F401 - which takes seconds of its own

    began = time.monotonic()
    with pytest.raises(ResultsError) as caught:
        open_client(tmp_path)
    assert time.monotonic() - began < 2 * database.ANSWER_SECONDS
    assert caught.value.code == "mlflow-not-written"


def test_what_a_store_raises_is_raised_and_what_it_takes_is_limited():
    with pytest.raises(KeyError):
        answered(lambda: {}["x"], 1.0)
    with pytest.raises(TimeoutError):
        answered(lambda: time.sleep(5), 0.1)
    answered(lambda: 1, 1.0)


def test_the_end_of_a_run_does_not_wait_for_a_server_that_does_not_answer(silent, tmp_path, monkeypatch):
    suite, results = write_suite(tmp_path, steps=2), tmp_path / "results"
    run = partial(run_tiny, suite, results, variants=("dense",), trials=1, seeds=1)
    run()
    for path in [*(results / "records").rglob("*.json")]:
        path.unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    began = time.monotonic()
    session = run(mlflow=True)
    assert session.unfinished == ()
    assert "sync" in " ".join(session.warnings)
    assert time.monotonic() - began < 110, "the store's limit is 10 seconds, and MLflow takes some to be imported"


@pytest.mark.filterwarnings("ignore")  # of what mlflow imports
def test_the_pages_of_the_ui_are_found_or_are_not_there(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv(database.UI_RESULTS, str(tmp_path))
    from starlette.applications import Starlette

    from moebench.mlflow_store import ui_app

    own = Starlette(routes=[route for route in ui_app.app.router.routes if "moebench" in getattr(route, "path", "")])
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "board.html").write_text("a board")
    odd = os.fsdecode(b"odd\xff")
    with contextlib.suppress(OSError):
        (tmp_path / odd).mkdir()
        (tmp_path / odd / "board.html").write_text("a board")
    (tmp_path / "loop").symlink_to("loop")
    assert status(own, "/moebench/") == 200
    assert status(own, "/moebench/board/tiny/board.html") == 200
    for address in (
        "/moebench/board/tiny/a\0board.html",
        "/moebench/board/\0/board.html",
        f"/moebench/board/{'x' * 5000}/board.html",
        f"/moebench/board/{'x/' * 5000}board.html",
        "/moebench/board/\udcff/board.html",
        "/moebench/board/\ud800/board.html",
        "/moebench/board/loop/board.html",
        "/moebench/board/../../etc/passwd",
        "/moebench/run/" + "f" * 5000,
        "/moebench/run/\0",
        "/moebench/run/a/b",
        "/moebench/\0",
        "/moebench/elsewhere",
    ):
        assert status(own, address) == 404, address[:60]


def status(app, address: str) -> int:
    """The status of the answer to GET, by the protocol that servers speak with applications."""
    import asyncio

    sent, asked = [], [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if not asked:
            await asyncio.Event().wait()  # as of a client that stays
        return asked.pop()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": address,
        "raw_path": address.encode(errors="replace"),
        "query_string": b"",
        "headers": [],
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    return next(message["status"] for message in sent if message["type"] == "http.response.start")


def test_errors_travel_between_processes_as_they_are():
    from moebench.errors import UnknownNameError, from_plain, to_plain

    error = UnknownNameError("setting", "experst", ["experts"])
    again = from_plain(json.loads(json.dumps(to_plain(error))))
    assert type(again) is UnknownNameError
    assert (str(again), again.code, again.facts["name"]) == (str(error), error.code, "experst")


def test_a_process_that_ends_while_it_is_looked_at_has_no_children(monkeypatch):
    def gone(real):
        def look(path="."):
            if str(path).endswith("/task"):
                raise FileNotFoundError(path)
            return real(path)

        return look

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, gone(getattr(os, name)))
    assert processes.processor_time(os.getpid()) is not None
