"""What a notebook shows: small tables, a bar, errors in a sentence, and the call that goes on after an interrupt."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from boards import HOSTILE, hostile_board, small_board
from moebench import api
from moebench.checks.outcome import CheckReport, CheckReports, CheckResult
from moebench.contract import wrap
from moebench.errors import MoebenchError, PluginError
from moebench.records import Record
from moebench.runner.progress import InNotebook, choose_progress
from moebench.runner.stopping import Interrupted
from moebench.text import plain_console
from test_comparison_formats import example


class Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_a_board_is_a_small_table_with_bars(tmp_path: Path) -> None:
    board = small_board(tmp_path).board()
    text = board._repr_html_()
    assert len(text.splitlines()) < 60
    assert len(text) < 6000
    seen = Cells(text)
    assert seen.tags.count("tr") == 5
    assert "0.976 ±0.003" in seen.texts
    assert text.count("background:#7aa6c2") == 4, "a bar for each score"
    assert "script" not in Cells(hostile_board(tmp_path / "h")._repr_html_()).tags
    assert HOSTILE


def test_a_board_is_a_data_frame_and_a_figure(tmp_path: Path) -> None:
    board = small_board(tmp_path).board()
    frame = board.to_pandas()
    assert list(frame["variant"]) == ["soft_moe", "dense", "sparse_topk", "random_router"]
    assert frame["budget"].unique() == [264_000]
    (axes,) = board.plot().axes
    assert [text.get_text() for text in axes.get_yticklabels()][::-1] == list(frame["variant"])
    with pytest.raises(KeyError):
        board.plot(budget=5)


def test_a_report_of_checks_is_a_line_and_its_failures() -> None:
    rows = [CheckResult(f"check_{n}", "holds") for n in range(60)]
    report = CheckReport("mine", (*rows, CheckResult("output_shape", "fails", "it gives <5>")))
    assert repr(report) == "<mine  60 of 61 checks hold>"
    assert repr(CheckReports([report])) == "[<mine  60 of 61 checks hold>]"
    text = CheckReports([report, CheckReport("broken", problem="no such file")])._repr_html_()
    assert len(text) < 500
    assert "it gives &lt;5&gt;" in text
    assert "no such file" in text


def test_a_comparison_is_a_table(tmp_path: Path) -> None:
    found = example(tmp_path)
    text = found._repr_html_()
    assert Cells(text).tags.count("tr") == len(found.pairs) + 1
    assert len(text.splitlines()) < 60


def test_an_error_is_its_sentence(tmp_path: Path) -> None:
    frame = {"file": str(tmp_path / "mine.py"), "line": 3, "name": "Mine.route", "text": "x = 1 / 0", "own": True}
    lines = PluginError("it fails.", code="x", frames=[frame])._render_traceback_()
    assert lines[0] == "moebench: it fails."
    assert [line.strip() for line in lines[2:]] == ["x = 1 / 0"]
    assert issubclass(PluginError, MoebenchError)
    assert Interrupted("stopped", 2)._render_traceback_() == ["moebench: stopped"]


def test_an_interrupt_says_the_call_that_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stops(*args: object, **options: object) -> None:
        raise Interrupted("stopped: 1 of 9 runs are done, and so on; the same command goes on.", 2)

    monkeypatch.setattr(api, "run_experiment", stops)
    mine = wrap(lambda dim, hidden: None, name="mine")
    with pytest.raises(Interrupted) as caught:
        api.run("quick", ["soft_moe", mine], seeds=8, results=tmp_path, mlflow=False, check=False, quiet=True)
    given = f"seeds=8, results='{tmp_path}', mlflow=False, check=False, quiet=True"
    call = f"run('quick', variants=['soft_moe', mine], {given})"
    assert str(caught.value).endswith(f"the same call goes on from here: {call}")
    assert caught.value.code == 130


def test_a_bar_stands_below_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, html: str) -> None:
            shown.append(html)

    def display(html: str, display_id: bool) -> Handle:
        shown.append(html)
        return Handle()

    fake = ModuleType("IPython.display")
    fake.HTML, fake.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    assert not isinstance(choose_progress(plain_console(), quiet=False), InNotebook)
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    bar = choose_progress(plain_console(), quiet=False)
    assert isinstance(bar, InNotebook)
    bar.start(9, 0, 2)
    assert '<progress max="9" value="0">' in shown[0], "before the first run"
    bar.running(["mine digits trial 0"])
    bar.finished("mine digits trial 0", Record.model_construct(status="error", reason="<no>", provenance={}))
    assert "mine digits trial 0  error: &lt;no&gt;" in shown[-1]
    assert 'value="1"' in shown[-1]
