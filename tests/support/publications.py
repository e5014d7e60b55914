"""A small suite run for real and published, and what a forger does to it."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from moebench.errors import ResultsError
from moebench.publish import Submission, manifest, pack
from moebench.publish.checks import CHECKS, make_checks
from moebench.publish.sources import open_results
from moebench.publish.write import publish
from tiny import run_tiny, write_plugin, write_suite

Value = dict[str, Any]


@cache
def run_and_publish() -> Path:
    """Dense, Soft MoE and a variant from a file: the results in ``r``, published to ``p``; once for all tests."""
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root)
    suite = write_suite(root)
    run_tiny(suite, root / "r", variants=())
    session = run_tiny(suite, root / "r", variants=(write_plugin(root, "mine"),), check=True)
    assert not session.unfinished
    publish(open_results(root / "r", "tiny"), root / "p")
    return root


def copied(root: Path, to: Path) -> Path:
    """A copy of the published directory, below ``to/p/tiny``."""
    (source,) = (root / "p" / "tiny").iterdir()
    return Path(shutil.copytree(source, to / "p" / "tiny" / source.name))


def findings(directory: Path, *names: str) -> dict[str, list[str]]:
    """What the checks of these names find, whether or not others hold; all of them as a reviewer makes them."""
    submission = Submission.read(directory)
    if not names:
        return {made.name: list(made.found) for made in make_checks(submission) if made.found}
    found = {name: list(CHECKS[name].find(submission)) for name in names}
    return {name: sentences for name, sentences in found.items() if sentences}


def damage(directory: Path) -> str:
    """What is said where the directory cannot even be read."""
    try:
        Submission.read(directory)
    except ResultsError as error:
        return str(error)
    return ""


def lines_of(directory: Path) -> list[Value]:
    return [json.loads(line) for line in (directory / pack.NAME).read_text().splitlines()]


def write_lines(directory: Path, lines: list[Value]) -> None:
    """Write them as a forger would who knows everything but how to train: order, count and digest follow."""
    head, *records = lines
    head["records"] = len(records)
    records.sort(key=lambda record: record["identity"])
    text = "".join(pack.to_line(value) + "\n" for value in (head, *records))
    (directory / pack.NAME).write_text(text)
    about = json.loads((directory / manifest.NAME).read_text())
    about["sha256"][pack.NAME] = manifest.sha256(text.encode())
    about["records"] = len(records)
    (directory / manifest.NAME).write_text(json.dumps(about, indent=1) + "\n")


def records_of(lines: list[Value], kind: str, row: str = "soft_moe") -> list[Value]:
    found = [line for line in lines[1:] if line["cell"]["kind"] == kind]
    return [line for line in found if kind == "latency" or line["provenance"]["row"] == row]
