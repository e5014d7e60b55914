"""A static site of all published boards: an index to search, a page for each variant, a log, and the boards."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebench.board import TEXTS, Board, Entry
from moebench.board.numbers import latency, moment, multiple, rank, shown_name, with_interval
from moebench.board.page import breakable, environment_of
from moebench.board.words import amount, finding, score_name, tier
from moebench.errors import ResultsError
from moebench.files import LARGE, read_text
from moebench.protocol import EARLIER, protocol_of
from moebench.publish.sources import is_published, no_directory, published_board
from moebench.records.store import write_atomic

if TYPE_CHECKING:
    from jinja2 import Environment

LOG = "log.json"
"""What was added when; a row stays in it when its board is gone."""

FORMS = ("html", "json", "csv", "md")


@dataclass(frozen=True)
class Listed:
    """A published board. folder: relative to what was published, with slashes."""

    folder: str
    board: Board

    @property
    def page(self) -> str:
        """Its address on the site."""
        return f"boards/{self.folder}/board.html"

    @property
    def status(self) -> str:
        """Why boards of an earlier protocol are withdrawn; empty for those of this one."""
        return EARLIER.get(protocol_of(self.board.protocol), "")


@dataclass(frozen=True)
class Line:
    """A row of a board at a budget, as the site lists it. anchor: of its details on the board's page."""

    listed: Listed
    entry: Entry
    budget: str
    anchor: str

    @property
    def started(self) -> str:
        """When the first of its final runs began, as its records say; empty where they do not."""
        times = [task.provenance.started for task in self.entry.tasks if task.provenance]
        return min(filter(None, times), default="")


@dataclass(frozen=True)
class Added:
    """A line of the log."""

    when: str
    board: str
    row: str
    rank: str
    score: str


def write_site(root: Path, to: Path) -> list[Path]:
    """Write the site of every board that was published below ``root``; returns its pages.

    :class:`ResultsError` where there is none, or the directory cannot be written.
    """
    if not root.is_dir():
        raise no_directory(root)
    found = [path.parent for path in sorted(root.rglob("board.json")) if is_published(path.parent)]
    boards = [Listed(path.relative_to(root).as_posix(), published_board(path)) for path in found]
    boards.sort(key=lambda each: bool(each.status))
    if not boards:
        raise ResultsError(f"no board was published below '{root}'.", code="nothing-published", directory=root)
    lines = [line for listed in boards for line in _lines(listed)]
    by_variant: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_variant[line.entry.variant].append(line)
    pages = {name: f"variants/{slug(name)}.html" for name in sorted(by_variant)}
    try:
        log = _log(to / LOG, lines)
        files = {
            "index.html": _page("index.html.j2", boards=boards, lines=lines, pages=pages, up=""),
            "log.html": _page("log.html.j2", log=log, up="", pages=pages),
            LOG: json.dumps([asdict(each) for each in log], indent=1) + "\n",
        }
        for name, of in by_variant.items():
            newest = sorted(of, key=lambda line: line.started, reverse=True)
            files[pages[name]] = _page("variant.html.j2", name=name, lines=newest, up="../", pages=pages)
        for listed in boards:
            files |= {f"boards/{listed.folder}/board.{form}": TEXTS[form](listed.board) for form in FORMS}
        for path, text in files.items():
            write_atomic(to / path, text.encode())
    except OSError as error:
        raise ResultsError(
            f"cannot write to '{to}' ({error.strerror}).", code="site-unwritable", directory=to
        ) from error
    return [to / path for path in files if path.endswith(".html")]


def slug(name: str) -> str:
    """A file's name for any name of a row: two names never have one."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower())[:60].strip("-")
    return plain if plain and plain == name else f"{plain or 'row'}-{sha256(name.encode()).hexdigest()[:8]}"


def _lines(listed: Listed) -> list[Line]:
    board = listed.board
    return [
        Line(listed, entry, amount(board, rung.budget), f"row-{index}-{place}")
        for index, rung in enumerate(board.rungs)
        for place, entry in enumerate(rung.entries)
    ]


def _log(path: Path, lines: Sequence[Line]) -> list[Added]:
    """What the log has, and what is new, the newest first; nothing is taken out."""
    known = [Added(**each) for each in json.loads(read_text(path, LARGE))] if path.is_file() else []
    places = {(each.board, each.row, each.when) for each in known}
    found = list(known)
    for line in lines:
        board = f"{line.listed.folder}, {line.budget}"
        if (board, line.entry.variant, line.started) not in places:
            score = with_interval(line.entry.representation)
            found.append(Added(line.started, board, line.entry.variant, rank(line.entry.rank), score))
    return sorted(found, key=lambda each: (each.when, each.board, each.row), reverse=True)


def _page(template: str, **values: Any) -> str:
    environment = _environment()
    script = environment.get_template("site.js").render()
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(script=script, script_digest=digest, **values)


def _environment() -> Environment:
    environment = environment_of("moebench.publish", "moebench.board")
    environment.filters |= {"breakable": breakable, "rank": rank, "moment": moment, "shown": shown_name}
    environment.globals |= {
        "with_interval": with_interval,
        "multiple": multiple,
        "latency": latency,
        "finding": finding,
        "score_name": score_name,
        "tier": tier,
        "vouched": _vouched,
    }
    return environment


def _vouched(board: Board) -> str:
    """Who vouches for a board."""
    return tier(board) or "self-reported"
