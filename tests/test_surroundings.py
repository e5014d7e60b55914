"""Proxies, long names of folders, quotas of processors, results of others, encodings: each works or is one sentence."""

import multiprocessing
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import tomllib
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from moebench import machine, processes
from moebench.cli.listing import _about, _problem
from moebench.cli.main import cli
from moebench.errors import SuiteError, UsageError
from moebench.mlflow_store import database, serve
from moebench.plugins.find import Found
from moebench.suites import load_suite
from test_paths_as_they_are import MICRO

ROOT = Path(__file__).parent.parent


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass


def test_the_ui_is_found_whatever_the_proxy_variables_say(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(serve, "START_SECONDS", 5.0)
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert serve._answers(f"http://127.0.0.1:{server.server_port}", SimpleNamespace(poll=lambda: None))
    server.shutdown()
    server.server_close()


def test_a_tracking_server_on_this_machine_is_asked_without_a_proxy_and_not_for_long(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    database._answer_soon("http://127.0.0.1:5999")
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "127.0.0.1"
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) * int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
    database._answer_soon("http://mlflow.example:5000")
    assert os.environ["no_proxy"] == "127.0.0.1"


def test_names_of_this_machine_and_those_that_are_named_are_allowed(monkeypatch):
    monkeypatch.delenv("MLFLOW_SERVER_ALLOWED_HOSTS", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "gpu7")
    monkeypatch.setattr("socket.getfqdn", lambda: "gpu7.lab.example.org")
    assert serve._allowed("127.0.0.1", 5000, ()) == []
    _, hosts, _, origins = serve._allowed("0.0.0.0", 5101, ())
    assert {"gpu7", "gpu7.lab.example.org:*", "192.168.*", "localhost:*"} <= set(hosts.split(","))
    assert "http://gpu7.lab.example.org:5101" in origins.split(",")
    assert "boards.example.org:*" in serve._allowed("127.0.0.1", 5000, ["boards.example.org"])[1].split(",")


@pytest.mark.filterwarnings("ignore")  # of what mlflow imports
def test_the_servers_own_rule_lets_those_names_in(monkeypatch):
    from mlflow.server.security_utils import is_allowed_host_header

    monkeypatch.setattr("socket.getfqdn", lambda: "gpu7.lab.example.org")
    hosts = serve._allowed("0.0.0.0", 5101, ())[1].split(",")
    for asked in ("gpu7.lab.example.org:5101", "127.0.0.1:5101", "[::1]:5101", "10.1.2.3:5101", "localhost"):
        assert is_allowed_host_header(hosts, asked), asked
    assert not is_allowed_host_header(hosts, "evil.example.org:5101")


@pytest.mark.parametrize(
    ("lines", "files", "quota"),
    [
        ("0::/a/b", {"a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/host/place", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("4:cpu,cpuacct:/half", {"cpu/half/cpu.cfs_quota_us": "50000", "cpu/half/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu:/half", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("5:cpuset:/x\n0::/", {}, None),
        ("0::/", {"cpu.max": "rubbish"}, None),
    ],
)
def test_the_quota_of_a_container_of_either_version(tmp_path, lines, files, quota):
    (tmp_path / "groups").write_text(lines + "\n")
    for name, text in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert machine.processor_quota(tmp_path / "groups", tmp_path / "mounted") == quota


def test_workers_are_the_smaller_of_affinity_and_quota_and_at_least_one(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for quota, cores in ((None, 64), (0.5, 1), (2.0, 2), (100.0, 64)):
        monkeypatch.setattr(machine, "processor_quota", lambda quota=quota: quota)
        assert machine.cores() == cores


def test_a_suite_runs_under_a_long_name_of_the_folder_for_temporary_files(tmp_path):
    long = tmp_path / ("scratch-" * 10)
    long.mkdir()
    (tmp_path / "micro.toml").write_text(MICRO)
    code = "import sys; from moebench.cli.main import main; sys.argv[0] = 'moebench'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "micro.toml", "--no-mlflow"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(long)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_where_no_folder_has_a_short_name_a_sentence_names_the_variable(tmp_path, monkeypatch):
    config = multiprocessing.current_process()._config
    monkeypatch.setitem(config, "tempdir", None)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/x" * 60)
    monkeypatch.setattr(processes, "LONGEST", 3)
    with pytest.raises(UsageError, match="TMPDIR") as caught:
        processes._find_room_for_sockets()
    assert caught.value.code == "temporary-folder-too-long"


def test_plan_needs_no_directory_that_can_be_written(tmp_path):
    (tmp_path / "micro.toml").write_text(MICRO)
    done = CliRunner().invoke(cli, ["plan", str(tmp_path / "micro.toml"), "--results", "/proc/nothing"])
    assert done.exception is None, done.output


def test_the_log_of_the_ui_lies_elsewhere_where_results_are_read_only(tmp_path, monkeypatch):
    assert serve._log(tmp_path) == tmp_path / ".mlflow" / "ui.log"
    (tmp_path / "file").write_text("")
    log = serve._log(tmp_path / "file")
    assert log.parent.is_dir()
    shutil.rmtree(log.parent)


def test_the_ui_serves_a_copy_of_a_store_that_may_only_be_read(tmp_path, monkeypatch):
    """With what the writer's SQLite has not yet put into the file; that of this process can always be written."""
    writer = sqlite3.connect(tmp_path / "mlflow.db")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE runs (name)")
    writer.execute("INSERT INTO runs VALUES ('mine')")
    writer.commit()
    assert (tmp_path / "mlflow.db-wal").stat().st_size
    asked = []

    def ended(command, **options):
        asked.append(command[command.index("--backend-store-uri") + 1])
        copy = database.database_path(asked[-1])
        with closing(sqlite3.connect(copy)) as server:
            assert server.execute("SELECT name FROM runs").fetchall() == [("mine",)]
            if copy.parent != tmp_path:
                server.execute("INSERT INTO runs VALUES ('by the server')")
                server.commit()
        raise InterruptedError

    monkeypatch.setattr(subprocess, "Popen", ended)
    with pytest.raises(InterruptedError):
        serve.serve(tmp_path, "127.0.0.1", 0, print)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(InterruptedError):
        serve.serve(tmp_path, "127.0.0.1", 0, print)
    own, copy = map(database.database_path, asked)
    assert own == tmp_path / "mlflow.db" != copy
    assert not copy.parent.exists()
    assert writer.execute("SELECT name FROM runs").fetchall() == [("mine",)]
    writer.close()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_suite_may_begin_with_a_byte_order_mark(tmp_path, mark):
    path = tmp_path / "bom.toml"
    path.write_bytes(mark + MICRO.replace("\n", "\r\n").encode())
    assert load_suite(str(path)).title == "A few steps"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "other.toml"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path.write_bytes(mark + MICRO.encode(encoding))
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    assert caught.value.code == "not-utf-8"


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbfclass Mine:\n    """Mine."""\n',
        b'# -*- coding: latin-1 -*-\nclass Mine:\n    """Mine."""  # \xe4\n',
    ],
)
def test_list_reads_python_files_in_their_own_encoding(tmp_path, content):
    (tmp_path / "layer.py").write_bytes(content)
    found = Found("mine", "mine", "theirs", "theirs.layer", "Mine", tmp_path / "layer.py")
    assert _problem("variants", found, load=False) == ""
    assert _about(found, "").plain == "Mine."


def test_the_sdist_has_what_the_readme_uses():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"][
        "include"
    ]
    assert {"tox.ini", "constraints.txt", "tests", "CITATION.cff", "CONTRIBUTING.md"} <= set(included)
    for link in re.findall(r"\]\(([^):#]+)\)", (ROOT / "README.md").read_text()):
        assert any(link == each or link.startswith(f"{each}/") for each in included), link


def test_the_readme_has_a_first_command_for_systems_without_python_or_a_writable_environment():
    text = (ROOT / "README.md").read_text()
    for words in ("python3 -m venv", "pipx run tox", "uvx --with tox-uv tox"):
        assert words in " ".join(text.split())
