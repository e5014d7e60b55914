"""Every snippet of README and docs: Python is executed, TOML is read, and commands are what the command line takes."""

from __future__ import annotations

import doctest
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from moebench.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)(`{3,4})(\w*)\n(.*?)^\1\2 *$", re.M | re.S)
INLINE = re.compile(r"`(moebench [a-z]+[^`]*)`")


def blocks(*kinds: str) -> Iterator[tuple[str, str]]:
    """(where, text) of the fenced blocks of these languages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[3] in kinds:
                line = text[: match.start()].count("\n") + 1
                yield f"{page.relative_to(ROOT)}:{line}", match[4]


def commands() -> Iterator[tuple[str, str]]:
    """(where, words) of every command that a page names with arguments."""
    for where, text in blocks("", "console"):
        for line in text.replace("\\\n", " ").splitlines():
            words = re.sub(r"^\s*(\S*\$ )?", "", line)
            if words.startswith("moebench "):
                yield where, words
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for words in INLINE.findall(line):
                yield f"{page.relative_to(ROOT)}:{number}", words


def parse(words: str) -> click.Context | None:
    """The command as click takes it, without running it; None for a command that is only named."""
    words = re.split(r"\s(?:#|>>|\||\(|until|the |write |of )", words)[0].replace(
        "\\n", ""
    )  # comments, and where its output goes
    _, name, *rest = shlex.split(words)
    assert name in COMMANDS, f"there is no command '{name}'"
    if not rest:
        return None
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for option in command.params:
        if isinstance(option.type, click.Path):
            option.type.exists = False  # of the reader's machine
    numbers = {"R": "1.5", "N": "3", "B": "1", "DIR": "there"}
    try:
        return command.make_context(name, [numbers.get(each, each) for each in rest])
    except click.exceptions.Exit:  # --help
        return None


def hints() -> Iterator[tuple[str, str]]:
    """(where, words) of the commands in what the program prints; a suite stands for what is filled in."""
    for path in sorted((ROOT / "bench/moebench").rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for words in INLINE.findall(re.sub(r"(?<!`)``(?!`)", "", line)):
                filled = re.sub(r"\{[^{}]*\}", "quick", words)
                if "{" not in filled and "..." not in filled:
                    yield f"{path.relative_to(ROOT)}:{number}", filled


ALL = sorted({*commands(), *hints()})


@pytest.mark.parametrize(("where", "words"), ALL, ids=[where for where, _ in ALL])
def test_a_command_is_one_that_the_program_takes(where: str, words: str) -> None:
    parse(words)


def test_a_command_that_does_not_exist_is_found() -> None:
    assert len(ALL) > 60
    for wrong in ("moebench runn quick", "moebench run quick --sedes 3", "moebench leaderboard a b"):
        with pytest.raises((AssertionError, click.ClickException)):
            parse(wrong)


@pytest.mark.parametrize(("where", "text"), [*blocks("toml")], ids=[where for where, _ in blocks("toml")])
def test_a_suite_is_toml(where: str, text: str) -> None:
    assert tomllib.loads(text)


def test_sessions_of_python_print_what_they_show() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if "```pycon" in text:
            found = doctest.DocTestParser().get_doctest(text.replace("```", ""), {}, page.name, str(page), 0)
            assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found).failed == 0, page.name


CALLED = """
import torch
from torch import nn

class MyLayer(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.a, self.b = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.b(self.a(x).relu())

RECORD = "a record"
"""
"""What a page leaves to its reader."""


def test_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Page by page, so that a block may use those above it; what trains for minutes is called with all else real."""
    import moebench
    from moebench.contract import LayerShape
    from moebench.plugins.load import verify

    called: list[str] = []

    def run(suite: str, variants: list[object], **options: object) -> None:
        for variant in variants:
            verify("mine", variant)
            variant.layer(LayerShape(dim=8, out_dim=8, tokens=4), 4, {})  # type: ignore[attr-defined]
        called.append("run")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(moebench, "run", run, raising=False)
    monkeypatch.setattr(moebench, "load_model", lambda record: called.append("load_model"), raising=False)
    monkeypatch.setattr(
        moebench, "subset_inference", lambda model, data, k: called.append("subset_inference"), raising=False
    )
    pages: dict[str, dict[str, object]] = {}
    for where, text in blocks("python"):
        page = where.partition(":")[0]
        if page not in pages:
            pages[page] = {"__name__": "snippet"}
            exec(CALLED, pages[page])
        exec(compile(text, where, "exec"), pages[page])
    assert {"run", "load_model", "subset_inference"} <= set(called)
    assert {"README.md", "docs/port-your-layer.md"} <= set(pages)


def test_the_ported_module_is_the_example() -> None:
    page = (ROOT / "docs/port-your-layer.md").read_text()
    example = (ROOT / "examples/my_moe.py").read_text()
    code = "\n".join(re.findall(r"```python\n# my_moe\.py\n(.*?)```", page, re.S))
    kept = [line.partition("  #")[0] for line in example.partition('"""\n\n')[2].splitlines() if line]
    assert [line for line in code.splitlines() if line] == kept
