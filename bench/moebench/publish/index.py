"""The page above all published boards: what there is, and boards of the same models side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from moebench.board import Board, Entry
from moebench.board.markdown import escape, table
from moebench.board.numbers import rank, shown_name, with_interval
from moebench.board.words import amount
from moebench.files import read_bytes, read_text
from moebench.protocol import EARLIER, changed_in, label, protocol_of
from moebench.publish.sources import is_published, published_board
from moebench.records.store import write_atomic

NAME = "README.md"
TITLE = "# Published boards"
BOARD = "board.md"
OF_PROTOCOL = "protocol-"
"""Begins the name of a directory of boards of an earlier protocol, inside that of the others."""
FINDINGS = "findings.md"
"""Written by hand, in the directory of the index, which holds its text."""

Named = tuple[Path, Board]
"""A board and its directory, relative to the index."""


def write_index(root: Path) -> Path | None:
    """Write ``root/README.md`` from the boards below it; None where a file of that name is no index, which stays."""
    found = [path for path in sorted(root.glob("*/*")) if is_published(path)]
    boards = [(path.relative_to(root), published_board(path)) for path in found]
    pages = sorted(page for depth in ("*", "*/*") for page in root.glob(f"{depth}/*.md") if page.name != BOARD)
    pages = [page for page in pages if not page.relative_to(root).parts[0].startswith(OF_PROTOCOL)]
    path = root / NAME
    if path.is_file() and not read_bytes(path).decode(errors="replace").startswith(TITLE):
        return None
    findings = root / FINDINGS
    text = read_text(findings) if findings.is_file() else ""
    earlier = [protocol for protocol in EARLIER if (root / f"{OF_PROTOCOL}{protocol}" / NAME).is_file()]
    own = root.resolve().name.removeprefix(OF_PROTOCOL)
    page = to_markdown(boards, [page.relative_to(root) for page in pages], text, earlier, own if own in EARLIER else "")
    write_atomic(path, page.encode())
    return path


def to_markdown(
    boards: Iterable[Named],
    pages: Iterable[Path] = (),
    findings: str = "",
    earlier: Iterable[str] = (),
    protocol: str = "",
) -> str:
    """A table of all boards, the findings, then a table for each set of boards that share tasks, host, training and
    device.

    pages: others that lie there, to be named. findings: Markdown. earlier: protocols whose boards have a page of their
    own. protocol: the earlier one that this page is of.
    """
    boards, others = list(boards), [f"[{escape(page.as_posix())}]({quote(page.as_posix())})" for page in pages]
    lines = [f"{TITLE} of protocol {protocol}", "", f"These boards are {EARLIER[protocol]}."] if protocol else [TITLE]
    lines += ["", "Made by `moebench publish`; `moebench verify DIR` checks them.", ""]
    if boards:
        lines += ["| suite | what | budget | device | seeds | rows | re-run | board |", f"|{' --- |' * 8}"]
        lines += [_summary(path, board) for path, board in boards]
    else:
        lines += ["There is no board of this protocol yet."]
    if findings:
        lines += ["", findings.strip()]
    alike: dict[str, list[Named]] = defaultdict(list)
    for path, board in boards:
        alike[_models(board)].append((path, board))
    for group in alike.values():
        if sum(len(board.rungs) for _, board in group) > 1:
            lines += ["", *_side_by_side(group)]
    for each in earlier:
        lines += ["", f"[Boards of protocol {each}]({OF_PROTOCOL}{each}/{NAME}) ({EARLIER[each]})."]
    if others:
        lines += ["", f"Also here: {', '.join(others)}."]
    return "\n".join(lines) + "\n"


def _summary(path: Path, board: Board) -> str:
    budgets = "; ".join(amount(board, rung.budget) for rung in board.rungs)
    again = f"{board.verification.rerun} of {board.verification.runs}" if board.verification else "-"
    texts = [board.suite, board.title, budgets, board.device, str(board.seeds), str(len(board.entries)), again]
    links = " ".join(f"[{suffix}]({quote(path.as_posix())}/board.{suffix})" for suffix in ("md", "html", "json"))
    return f"| {' | '.join(map(escape, texts))} | {links} |"


def _models(board: Board) -> str:
    """What must be equal for scores of two boards to be comparable: device, protocol, tasks and training."""
    changed = {name: value for name, value in changed_in(board.protocol).items() if name != "seeds"}
    protocol = label(protocol_of(board.protocol), changed)
    return repr([board.device, protocol, [(task.name, sorted(task.shared_settings.items())) for task in board.tasks]])


def _side_by_side(group: list[Named]) -> list[str]:
    """Rank and score of every row on every budget of every board, in the order of the first."""
    columns = [(board, rung) for _, board in group for rung in board.rungs]
    names = dict.fromkeys(entry.variant for _, rung in columns for entry in rung.entries)
    suites = ", ".join(dict.fromkeys(board.suite for _, board in group))
    title = f"{suites} ({', '.join(task.label for task in group[0][1].tasks)})"
    head = [
        "variant",
        *(f"{board.suite}, {amount(board, rung.budget)}, {board.seeds} seeds" for board, rung in columns),
    ]
    lines = [f"## {escape(title)}: side by side", "", "Rank and score; what is held equal differs between columns.", ""]
    rows = []
    for name in names:
        found = [next((e for e in rung.entries if e.variant == name), None) for _, rung in columns]
        rows.append([shown_name(name), *map(_cell, found)])
    return [*lines, *table(head, rows)]


def _cell(entry: Entry | None) -> str:
    if entry is None or entry.representation is None:
        return "-"
    return f"{rank(entry.rank)}: {with_interval(entry.representation)}"
