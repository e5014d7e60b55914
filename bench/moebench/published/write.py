"""Write a suite's results where others can read and check them: records, manifest, and the boards made of them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from moebench import __version__
from moebench.board.files import write_board
from moebench.board.formats.numbers import shown_name
from moebench.errors import ResultsError
from moebench.planning.label import changed_in, label
from moebench.planning.plan import Plan
from moebench.plugins.find import Found, find_variant, is_place
from moebench.published import manifest, pack, verified
from moebench.published.boards import published_board
from moebench.published.selection import select
from moebench.published.sources import ResultSet
from moebench.published.specs import VARIANTS
from moebench.runs.store import write_atomic


@dataclass(frozen=True)
class Published:
    """directory: where it lies. left_out: (row, reason) of what could not be published. forgotten: whether what was run
    again of a board before was removed.
    """

    directory: Path
    rows: int
    records: int
    left_out: tuple[tuple[str, str], ...]
    forgotten: bool


def publish(results: ResultSet, root: Path, *, replace: bool = False) -> Published:
    """Write ``root/<suite>/<device>``; what lay there of an earlier publication with no other rows is replaced.

    replace: it is replaced whatever its rows. :class:`ResultsError` where too little has a result, where a publication
    would be replaced that has rows these results lack, or where the directory cannot be written.
    """
    selection = select(results.plan, results.lookup)
    plan, sources = _with_files(selection.plan)
    directory = directory_of(root, plan)
    if not replace:
        _keep_others(directory, plan)
    lines = pack.to_lines(plan, selection.records).encode()
    files = {pack.NAME: lines, **sources}
    about = manifest.Manifest(
        suite=plan.suite.name,
        protocol=plan.protocol,
        device=plan.device["name"],
        moebench=__version__,
        command=command_of(plan),
        records=len(selection.records),
        packages=_packages(plan),
        sha256={name: manifest.sha256(content) for name, content in sorted(files.items())},
    )
    forgotten = (directory / verified.NAME).exists()
    try:
        for name, content in files.items():
            write_atomic(directory / name, content)
        write_atomic(directory / manifest.NAME, manifest.to_text(about).encode())
        stale = {directory / verified.NAME, *directory.glob(f"{VARIANTS}/*")} - {directory / name for name in files}
        for path in stale:
            path.unlink(missing_ok=True)
        write_board(published_board(directory), directory, figures=False)
    except OSError as error:
        raise ResultsError(
            f"cannot write to '{directory}' ({error.strerror}); choose another with --to DIR."
        ) from error
    return Published(directory, len(plan.rows), len(selection.records), selection.left_out, forgotten)


def _keep_others(directory: Path, plan: Plan) -> None:
    """What somebody else published is not lost for a board with fewer rows."""
    if not (directory / pack.NAME).exists():
        return
    theirs = [row.name for row in pack.read_pack(directory / pack.NAME).plan.rows]
    if lost := [name for name in theirs if name not in {row.name for row in plan.rows}]:
        names = ", ".join(map(shown_name, lost))
        raise ResultsError(
            f"'{directory}' holds a board with {names}, which these results lack: publish to another directory "
            "(--to DIR), take its records first (`moebench run --reuse`), or replace it (--replace)."
        )


def directory_of(root: Path, plan: Plan) -> Path:
    """``root/<suite>/<device>``, the device in letters, digits and hyphens; a changed protocol has its own."""
    changes = _slug(label("", changed_in(plan.protocol)))
    return root / plan.suite.name / "-".join(filter(None, (_slug(plan.device["name"]) or "device", changes)))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]


def _with_files(plan: Plan) -> tuple[Plan, dict[str, bytes]]:
    """The plan with rows that came from files named by their place in the directory, and these files."""
    sources: dict[str, bytes] = {}
    rows = []
    for row in plan.rows:
        if not is_place(row.spec):
            rows.append(row)
            continue
        found = find_variant(row.spec)
        assert found.source is not None
        name = f"{VARIANTS}/{found.source.name}"
        content = found.source.read_bytes()
        if sources.setdefault(name, content) != content:
            raise ResultsError(f"two files called '{found.source.name}' bring variants; rename one of them.")
        rows.append(dataclasses.replace(row, spec=f"{name}:{found.attribute}"))
    specs = {row.name: row.spec for row in rows}
    suite = plan.suite.model_copy(
        update={
            "variants": [row.spec for row in rows if not row.reference],
            "reference": [each.model_copy(update={"variant": specs[each.name]}) for each in plan.suite.reference],
        }
    )
    return dataclasses.replace(plan, suite=suite, rows=tuple(rows)), sources


def _packages(plan: Plan) -> dict[str, str]:
    """``row -> package version``, for those that an installed package brings."""
    found = {row.name: find_variant(row.spec) for row in plan.rows if not is_place(row.spec)}
    return {name: _with_version(each) for name, each in sorted(found.items())}


def _with_version(found: Found) -> str:
    from importlib.metadata import version

    return f"{found.package} {version(found.package)}"


def command_of(plan: Plan) -> str:
    """What makes the same records, where it can be said in one line."""
    options = [f"--{name.replace('_', '-')} {value}" for name, value in changed_in(plan.protocol).items()]
    options += [f"--variant {row.spec}" for row in plan.rows if is_place(row.spec)]
    options += [f"--backend {plan.backend}"] if plan.backend else []
    return " ".join(["moebench run", plan.suite.name, *options])
