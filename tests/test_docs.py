"""What the pages say of the code, where a program can tell."""

import re
from pathlib import Path

from moebench.cli.main import COMMANDS

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_the_command_line_names_every_command() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "cli.md").read_text(encoding="utf-8"), flags=re.M)
    assert rows == list(COMMANDS)


def test_every_page_has_a_place_on_the_site() -> None:
    site = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages | {"index.md"} == set(re.findall(r"^ +- [\w ,]+: (\S+\.md)", site, flags=re.M))
