"""The version has one place; the changelog and the citation follow it."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from moebench import __version__
from moebench.protocol import PROTOCOL

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (?P<name>\S+)(?: - (?P<date>\d{4}-\d{2}-\d{2}))? \(protocol (?P<protocol>\d+)\)$", re.M)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_version_is_that_of_the_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project
    assert version("moebench") == __version__


def test_the_citation_names_the_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_changelog_leads_to_the_version() -> None:
    """The newest release is the version; a later version is that of the section Unreleased."""
    sections = list(SECTION.finditer(CHANGELOG))
    assert len(sections) == CHANGELOG.count("\n## "), "a heading is neither 'Unreleased' nor 'VERSION - DATE'"
    unreleased = sections[0]["name"] == "Unreleased"
    releases = sections[unreleased:]
    newest = releases[0]["name"]
    assert newest == __version__ or (unreleased and numbers(newest) < numbers(__version__))
    assert sections[0]["protocol"] == PROTOCOL
    dates = [each["date"] or "" for each in releases]
    assert all(dates)
    assert dates == sorted(dates, reverse=True)


def numbers(release: str) -> list[int]:
    """Of 0.1.0: 0, 1, 0."""
    return [int(part) for part in release.split(".")]


def test_changes_are_sorted_by_kind() -> None:
    assert set(re.findall(r"^### (.+)$", CHANGELOG, flags=re.M)) <= KINDS
