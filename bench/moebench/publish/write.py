"""Write a suite's results where others can read and check them: records, manifest, and the boards made of them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from moebench.board import Evidence, ResultSet, write_board
from moebench.board.numbers import shown_name
from moebench.errors import ResultsError
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Lookup, Plan
from moebench.plans.rows import BASELINE, OBJECT, Row
from moebench.plugins.find import Found, find_variant, is_place
from moebench.plugins.named import plain
from moebench.protocol import changed_in, label
from moebench.publish import manifest, pack
from moebench.publish.manifest import VARIANTS, VERIFICATION
from moebench.publish.sources import expected, published_board
from moebench.records import Record
from moebench.records.store import write_atomic


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
        moebench=version("moebench"),
        command=command_of(plan),
        records=len(selection.records),
        packages=_packages(plan),
        sha256={name: manifest.sha256(content) for name, content in sorted(files.items())},
    )
    forgotten = (directory / VERIFICATION).exists()
    try:
        for name, content in files.items():
            write_atomic(directory / name, content)
        write_atomic(directory / manifest.NAME, manifest.to_text(about).encode())
        stale = {directory / VERIFICATION, *directory.glob(f"{VARIANTS}/*")} - {directory / name for name in files}
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


@dataclass(frozen=True)
class Selection:
    """plan: of the rows that are published. records: theirs. left_out: (row, reason) of the others."""

    plan: Plan
    records: tuple[Record, ...]
    left_out: tuple[tuple[str, str], ...]


def select(plan: Plan, lookup: Lookup) -> Selection:
    """Choose the rows with a result on every task and budget.

    :class:`ResultsError` where there is nothing to compare, or latency was not measured.
    """
    if files := sorted(plain(name) for name, spec in plan.suite.plugins.items() if is_place(spec)):
        raise ResultsError(
            f"suite '{plan.suite.name}' rests on files that nobody else has ({', '.join(files)}); bring its tasks, "
            "hosts and measures in a package.",
            code="plugin-files-unpublished",
            names=files,
        )
    left_out = {row.name: reason for row in plan.rows if (reason := _why_not(plan, row, lookup))}
    left_out |= {
        row.name: f"it has the size of '{row.active_of}', which is left out."
        for row in plan.rows
        if row.active_of in left_out and row.name not in left_out
    }
    if BASELINE in left_out:
        raise ResultsError(
            f"'{BASELINE}' cannot be published ({left_out[BASELINE].rstrip('.')}), and every row is compared with it; "
            f"run `moebench run {plan.suite.name}` to its end."
        )
    if len(left_out) == len(plan.rows) - 1:
        raise ResultsError(f"no row beside '{BASELINE}' has a result on every task and budget of '{plan.suite.name}'.")
    kept = _without(plan, left_out)
    return Selection(kept, tuple(_records(kept, lookup)), tuple(left_out.items()))


def _why_not(plan: Plan, row: Row, lookup: Lookup) -> str:
    if row.spec == OBJECT:
        return "it was given as a Python object, which nobody else has; put it into a file or a package."
    for budget in plan.suite.budgets:
        evidence = Evidence.of(plan, row, budget, lookup)
        if not evidence.complete:
            reason = evidence.unranked(plan.suite.axis)
            assert reason is not None
            return reason.sentence
    return ""


def _without(plan: Plan, names: dict[str, str]) -> Plan:
    """The plan of the other rows of the board, none of them with a trace of the machine's files."""
    rows = tuple(dataclasses.replace(row, selected=True) for row in plan.rows if row.name not in names)
    suite = plan.suite.model_copy(
        update={
            "variants": [row.spec for row in rows if not row.reference],
            "reference": [each for each in plan.suite.reference if each.name not in names],
            "space": {name: values for name, values in plan.suite.space.items() if name in {r.variant for r in rows}},
        }
    )
    groups = tuple(group for group in plan.groups if group.row not in names)
    return dataclasses.replace(plan, suite=suite, rows=rows, groups=groups, fixed=(), measures={}, data=None)


def _records(plan: Plan, lookup: Lookup) -> list[Record]:
    found = {identity: lookup(identity) for identity in expected(plan, lookup)}
    sessions = {cell.identity: cell.task for cell in latency_cells(plan, lookup)}
    for identity, task in sessions.items():
        record = found[identity]
        if record is None or not record.settled:
            raise ResultsError(
                f"latency on '{task}' was not measured for exactly the rows that can be published; run "
                f"`moebench run {plan.suite.name}` again, with the same --variant options if there were any."
            )
    return [record for record in found.values() if record is not None]
