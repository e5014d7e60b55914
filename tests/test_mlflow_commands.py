import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from moebench.cli.main import cli
from moebench.errors import ResultsError, UsageError
from moebench.mlflow_store.database import writing
from moebench.mlflow_store.serve import _reachable, serve
from moebench.records import Store
from tiny import write_suite
from tracking_world import MLFLOW_WARNINGS, make_plan, put_all, put_board, ready_results, served

pytestmark = MLFLOW_WARNINGS


@pytest.fixture(autouse=True)
def _own_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A results directory into which the suite 'tiny' has run; what the planner would plan is given."""
    results, plan = ready_results(tmp_path / "results"), make_plan()
    put_all(Store(results), plan)
    (results / "tiny").mkdir()
    asked = {"suite": write_suite(tmp_path), "extras": [], "data": None}
    (results / "tiny" / "latest.json").write_text(json.dumps(asked), encoding="utf-8")
    monkeypatch.setattr("moebench.plans.cache.get_plan", lambda request, results: plan)
    return results


def moebench(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_sync_says_what_it_wrote_and_then_that_nothing_is_left(ran):
    first = moebench("sync", "--results", ran)
    assert first.output.splitlines()[0] == "tiny  protocol 1  11 runs written"
    again = moebench("sync", "tiny", "--results", ran)
    assert again.output.splitlines()[0] == "tiny  protocol 1  nothing to write"
    assert (first.exit_code, again.exit_code) == (0, 0)


def test_sync_of_what_never_ran_is_one_sentence(tmp_path, ran):
    nothing = moebench("sync", "--results", tmp_path / "none")
    assert isinstance(nothing.exception, ResultsError)
    assert "no suite has run into" in str(nothing.exception)
    other = moebench("sync", "quick", "--results", ran)
    assert isinstance(other.exception, ResultsError)
    assert "suite 'quick' has not run into" in str(other.exception)
    misspelt = moebench("sync", "quik", "--results", ran)
    assert isinstance(misspelt.exception, UsageError)
    assert "did you mean 'quick'?" in str(misspelt.exception)


def test_sync_beside_a_running_writer_is_one_sentence(ran):
    with writing(ran):
        result = moebench("sync", "--results", ran)
    assert result.exception.code == "mlflow-busy"


def test_sync_to_a_store_out_of_reach_is_one_sentence(ran, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = moebench("sync", "--results", ran)
    assert result.exception.code == "mlflow-not-written"
    assert result.exception.facts["cause"].startswith("MlflowException: ")


def test_ui_without_a_database_is_one_sentence(tmp_path):
    with pytest.raises(ResultsError) as caught:
        serve(tmp_path, "127.0.0.1", 5000, print)
    assert caught.value.code == "no-mlflow"
    assert list(tmp_path.iterdir()) == []


def test_ui_of_a_tracking_server_names_it_and_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    put_board(tmp_path / "tiny")
    (tmp_path / "tiny" / "latest.json").write_text("{}", encoding="utf-8")
    result = moebench("ui", "--results", tmp_path)
    assert result.output.split() == [
        "board",
        str(tmp_path / "tiny" / "board.html"),
        "MLflow",
        "http://mlflow.example:5000",
    ]


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("localhost", "localhost")]
)
def test_the_ui_says_an_address_that_a_browser_takes(host, shown):
    assert _reachable(host) == shown


def test_a_ui_that_gives_no_answer_is_not_said_to_have_ended(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(b"")
    silent = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started(silent, **options))
    monkeypatch.setattr("moebench.mlflow_store.serve.START_SECONDS", 0.5)
    with pytest.raises(UsageError) as caught:
        serve(tmp_path, "127.0.0.1", 0, print)
    assert caught.value.code == "ui-silent"


def fetch(url):
    """Status, where it leads, and text; redirections are not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args):
            return None

    try:
        with urllib.request.build_opener(Stay).open(url) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Location", ""), error.read().decode()


def check_addresses(url, results):
    """The boards and the run of a record are served beside MLflow, and nothing else of the directory is."""
    status, _, text = fetch(f"{url}/moebench/")
    assert status == 200
    assert 'href="board/tiny/board.html"' in text
    assert fetch(f"{url}/moebench/board/tiny/board.html") == (200, "", "<p>board</p>")
    record = next(Store(results).records())
    status, place, _ = fetch(f"{url}/moebench/run/{record.identity}")
    assert status == 307
    assert re.fullmatch(r"/#/experiments/\d+/runs/[0-9a-f]{32}\?workflowType=machine_learning", place)
    (results.parent / "board.html").write_text("not among the results", encoding="utf-8")
    for path in ("board/tiny/latest.json", "board/mlflow.db", "board/..%2f..%2fetc%2fpasswd", "board/..%2fboard.html"):
        assert fetch(f"{url}/moebench/{path}")[0] == 404, path
    assert "twenty hexadecimal digits" in fetch(f"{url}/moebench/run/nothing")[2]
    assert "`moebench sync` writes" in fetch(f"{url}/moebench/run/{'0' * 20}")[2]
    assert fetch(f"{url}/moebench/run/%3Cscript%3E")[0] == 404


def test_ui_serves_the_results_until_it_is_stopped(ran):
    put_board(ran / "tiny")
    assert moebench("sync", "--results", ran).exit_code == 0
    with served(ran) as (url, lines):
        assert lines == [
            f"board   {ran / 'tiny' / 'board.html'}\n",
            f"MLflow  {url}/moebench/mlflow  (Ctrl-C ends it)\n",
            f"boards  {url}/moebench/\n",
        ]
        name = "experiment_name=moebench/tiny/protocol%201"
        with urllib.request.urlopen(f"{url}/ajax-api/2.0/mlflow/experiments/get-by-name?{name}") as answer:
            assert json.load(answer)["experiment"]["lifecycle_stage"] == "active"
        check_addresses(url, ran)
        with pytest.raises(UsageError) as caught:
            serve(ran, "127.0.0.1", int(url.rpartition(":")[2]), print)
        assert caught.value.code == "port-taken"
