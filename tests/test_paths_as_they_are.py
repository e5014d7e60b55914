"""Names and paths are printed as they are, whatever brackets, colons or signs of addresses are in them."""

import io
import sqlite3

import pytest
from click.testing import CliRunner

from moebench.cli.main import cli
from moebench.mlflow_store.database import database_path, sqlite_uri, tracking_uri
from moebench.text import plain_console
from packages import VARIANT

ODD = "run[lr=0.1,wd=0.2] [/b] %41 ?a=1#b :dog: [bold]x"
MICRO = """
title = "A few steps"
axis = "total"
budgets = [20_000]
seeds = 1
variants = ["dense"]

[[task]]
name = "digits"

[host]
name = "vit"
dim = 16
depth = 1
heads = 2
patch = 4

[training]
steps = 2
batch = 32

[tuning]
trials = 1
lr = { low = 1e-3, high = 1e-2, default = 3e-3 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }

[latency]
batch = 8
rounds = 6
repeats = 1
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A directory of that name as the working directory's child, with a suite and a variant in it."""
    folder = tmp_path / ODD
    folder.mkdir(parents=True)
    (folder / "micro.toml").write_text(MICRO)
    (folder / "mine.py").write_text(VARIANT)
    monkeypatch.chdir(tmp_path)
    return ODD


def test_run_prints_the_path_of_its_board(odd, tmp_path):
    done = CliRunner().invoke(
        cli, ["run", f"{odd}/micro.toml", "--results", f"{odd}/r", "--variant", f"{odd}/mine.py:Mine", "--no-mlflow"]
    )
    assert done.exit_code == 0, done.output
    last = done.stdout.splitlines()[-1]
    assert last == f"board  {odd}/r/micro/board.html"
    assert (tmp_path / last.removeprefix("board  ")).is_file()


def test_check_names_the_file_as_it_is(odd):
    done = CliRunner().invoke(cli, ["check", f"{odd}/mine.py:Mine", "--only", "space"])
    assert (done.exit_code, done.exception) == (0, None)
    assert done.stdout.startswith(f"{odd}/mine.py:Mine  1 of 1 checks hold")


def test_a_status_line_and_a_bar_take_brackets(monkeypatch):
    from moebench.cli import check, sync

    monkeypatch.setattr("moebench.checks.run.run_checks", lambda variant, names, on_start: on_start(names[0]))
    monkeypatch.setenv("FORCE_COLOR", "1")
    check._watched("exp[/b]/mine.py:Mine", ["one[/x]"])
    with sync._bar("suite[/b]") as bar:
        bar(1, 2)


def test_strings_are_no_markup_anywhere_on_a_console():
    buffer = io.StringIO()
    plain_console(file=buffer, width=200).print(ODD)
    assert buffer.getvalue().rstrip("\n") == ODD


def test_the_address_of_a_store_leads_to_its_file(odd, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from sqlalchemy import create_engine

    path = tmp_path / odd / "mlflow.db"
    assert database_path(tracking_uri(tmp_path / odd)) == path
    with create_engine(sqlite_uri(path)).connect() as connection:
        connection.exec_driver_sql("CREATE TABLE here (x)")
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("here",)]
