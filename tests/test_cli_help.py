"""What helps on the command line: examples, groups, completion, hints that can be pasted."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from moebench.cli.help import EXAMPLES
from moebench.cli.hints import CARRIED, command_line
from moebench.cli.main import COMMANDS, cli, main
from moebench.cli.verbosity import ONLY_RESULTS
from moebench.text import PIPE_WIDTH, plain_console


def help_of(name: str) -> str:
    return CliRunner().invoke(cli, [name, "--help"]).output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_an_example_that_it_takes_and_its_levels(name: str) -> None:
    text = help_of(name)
    assert EXAMPLES[name] in text
    assert all(f"--{level}" in text for level in ("verbose", "debug"))
    assert ("--quiet" in text) == (name not in ONLY_RESULTS)
    command = cli.get_command(click.Context(cli), name)
    for option in command.params:
        if isinstance(option.type, click.Path):
            option.type.exists = False
    command.make_context(name, shlex.split(EXAMPLES[name])[2:])


def test_run_is_in_groups_and_names_its_suites() -> None:
    lines = help_of("run").splitlines()
    assert [line for line in lines if line.endswith(":") and not line.startswith(" ")] == [
        "What:", "Where:", "How:", "Advanced:", "Output:",
    ]  # fmt: skip
    for name in ("run", "plan", "leaderboard"):
        assert "quick-all" in help_of(name)
    assert "paper" in help_of("report")
    assert "quick-all" not in help_of("report").partition("Suites:")[2]


@pytest.mark.parametrize("name", ["publish", "report", "new"])
def test_where_something_is_written_has_one_name(name: str) -> None:
    assert "--to" in help_of(name)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("moebench run qui", {"quick", "quick-all"}),
        ("moebench plan quick --variant soft", {"soft_moe"}),
        ("moebench run quick --backend loo", {"loop"}),
        ("moebench list comp", {"compressors"}),
    ],
)
def test_a_shell_completes_names(words: str, expected: set[str]) -> None:
    asked = {"_MOEBENCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "moebench"], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == expected


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["moebench", *words])
    with pytest.raises(SystemExit):
        main()
    return capsys.readouterr().err


def test_a_hint_carries_what_was_given_quoted(monkeypatch, capsys, tmp_path: Path) -> None:
    where = tmp_path / "my results"
    text = said(monkeypatch, capsys, "leaderboard", "quick", "--results", str(where), "--seeds", "8")
    assert text.rstrip().endswith(f"run it with `moebench run quick --results '{where}' --seeds 8`.")
    text = said(monkeypatch, capsys, "leaderboard", "--results", str(where))
    assert f"`moebench run quick --results '{where}'`" in text
    assert "--seeds" not in text, "what was given to an earlier call is forgotten"
    assert "traceback" not in text.lower()
    assert "Traceback" in said(monkeypatch, capsys, "leaderboard", "--results", str(where), "--debug")


def test_a_command_line_is_what_was_given_with_what_changes(monkeypatch, capsys, tmp_path: Path) -> None:
    said(monkeypatch, capsys, "leaderboard", "quick", "--results", str(tmp_path / "r s"), "--seeds", "2")
    line = command_line("run", "my suite.toml", {"seeds": 8})
    assert line == f"moebench run 'my suite.toml' --results '{tmp_path}/r s' --seeds 8"


def test_a_pipe_is_100_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    with open(os.devnull, "w", encoding="utf-8") as pipe:
        assert plain_console(file=pipe).width == PIPE_WIDTH == 100


def test_the_browser_is_opened_only_when_asked(monkeypatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(
        "moebench.mlflow_store.serve.serve", lambda results, host, port, ready, names: ready("http://x")
    )
    assert CliRunner().invoke(cli, ["ui", "--results", str(tmp_path)]).exit_code == 0
    assert opened == []
    CliRunner().invoke(cli, ["ui", "--results", str(tmp_path), "--open"])
    assert opened == ["http://x"]


def test_hints_carry_every_option_of_run_that_says_what_is_run_and_where() -> None:
    run = cli.get_command(click.Context(cli), "run")
    assert run is not None
    assert {each.name for each in run.params} == {*CARRIED, "suite", "reuse", "quiet", "verbose", "debug"}


def test_plan_has_the_options_of_run() -> None:
    run, plan = (cli.get_command(click.Context(cli), name) for name in ("run", "plan"))
    assert {each.name for each in run.params} <= {each.name for each in plan.params} | {"quiet"}
