"""Write a suite's results where others can read and check them: records, manifest, and the boards made of them."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from moebench.board import ResultSet, RowRuns, write_board
from moebench.board.numbers import shown_name
from moebench.board.worth import REGRET
from moebench.errors import ResultsError
from moebench.plans.history import ran_plan
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Lookup, Plan
from moebench.plans.rows import BASELINE, OBJECT, Row, by_others
from moebench.plugins.find import find_variant, is_place
from moebench.plugins.identity import files_beside, packages_of
from moebench.plugins.named import without_digest
from moebench.protocol import changed_in, label
from moebench.publish import manifest, pack
from moebench.publish.manifest import VARIANTS, VERIFICATION
from moebench.publish.sources import expected, is_published, published_board
from moebench.records import Record, is_settled
from moebench.records.conformance import Conformance, read_conformance
from moebench.records.store import write_atomic


@dataclass(frozen=True)
class Published:
    """left_out: (row, reason) of what could not be published. forgotten: whether re-runs of a board before were
    removed. conformance: how many checks each row of another author holds, by its name.
    """

    directory: Path
    rows: int
    records: int
    left_out: tuple[tuple[str, str], ...]
    forgotten: bool
    conformance: Mapping[str, Conformance]


def publish(results: ResultSet, root: Path, *, replace: bool = False) -> Published:
    """Write ``root/<suite>/<device>``; an earlier publication there is replaced if it has no other rows.

    replace: it is replaced whatever its rows. :class:`ResultsError` where too little has a result, where a publication
    would be replaced that has rows these results lack, or where the directory cannot be written.
    """
    left_out = _left_out(results.plan, results.lookup)
    plan = _without(results.plan, left_out)
    ran = None if is_published(results.source) else ran_plan(results.source, plan.suite.name)
    records = _records(plan, results.lookup, ran)
    conformance = _conformance(plan, results.source)
    packages = _packages(plan)
    plan, sources = _with_files(plan)
    directory = directory_of(root, plan)
    if not replace:
        _keep_others(directory, plan)
    files = {pack.NAME: pack.to_lines(plan, records).encode(), **sources}
    about = manifest.Manifest(
        suite=plan.suite.name,
        protocol=plan.protocol,
        device=plan.device["name"],
        moebench=version("moebench"),
        command=_command(plan),
        records=len(records),
        packages=packages,
        conformance=conformance,
        sha256={name: manifest.sha256(content) for name, content in sorted(files.items())},
    )
    forgotten = (directory / VERIFICATION).exists()
    try:
        for name, content in (files | {manifest.NAME: manifest.to_text(about).encode()}).items():
            write_atomic(directory / name, content)
        stale = {directory / VERIFICATION, *_files_in(directory / VARIANTS)} - {directory / name for name in files}
        for path in stale:
            path.unlink(missing_ok=True)
        write_board(published_board(directory), directory, figures=False)
    except OSError as error:
        raise ResultsError(
            f"cannot write to '{directory}' ({error.strerror}); choose another with --to DIR.",
            code="publication-unwritable",
            directory=directory,
        ) from error
    checked = {row.name: conformance[row.code_digest] for row in by_others(plan.rows)}
    return Published(directory, len(plan.rows), len(records), tuple(left_out.items()), forgotten, checked)


def _conformance(plan: Plan, results: Path) -> dict[str, Conformance]:
    """Of each row of another author; what ``run`` did not check is checked now, in a process of its own."""
    from moebench.checks.run import run_checks  # imports torch

    known = read_conformance(results)
    if is_published(results):
        known |= manifest.read_manifest(results).conformance
    known = {code: found for code, found in known.items() if not found.stopped}  # it may come back on another day
    rows = {row.code_digest: row for row in by_others(plan.rows)}
    return {code: known.get(code) or run_checks(row.spec).conformance for code, row in sorted(rows.items())}


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def _keep_others(directory: Path, plan: Plan) -> None:
    """A publication is not lost for a board with fewer rows."""
    if not (directory / pack.NAME).exists():
        return
    before = [row.name for row in pack.read_pack(directory / pack.NAME).plan.rows]
    if lost := [name for name in before if name not in {row.name for row in plan.rows}]:
        take = f"moebench run {shlex.quote(plan.suite.name)} --reuse {shlex.quote(str(directory))}"
        raise ResultsError(
            f"'{directory}' holds a board with {', '.join(map(shown_name, lost))}, which these results lack: publish "
            f"to another directory (--to DIR), take its records first (`{take}`), or replace it (--replace).",
            code="rows-would-be-lost",
            rows=lost,
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
    specs = {row.name: row.spec for row in plan.rows}
    for row in plan.rows:
        if is_place(row.spec):
            found = find_variant(row.spec)
            assert found.source is not None
            beside = files_beside(found)
            folder = f"{VARIANTS}/{row.name}" if beside else VARIANTS
            name = f"{folder}/{found.source.name}"
            packed = {name: found.source, **{f"{folder}/{path}": file for path, file in beside.items()}}
            for path, content in ((path, file.read_bytes()) for path, file in packed.items()):
                if sources.setdefault(path, content) != content:
                    raise ResultsError(
                        f"two files called '{found.source.name}' bring variants; rename one of them.",
                        code="two-files-of-one-name",
                        file=found.source.name,
                    )
            specs[row.name] = f"{name}:{found.attribute}"
    suite = plan.suite.with_specs({row.name: specs[row.name] for row in plan.rows})
    rows = tuple(dataclasses.replace(row, spec=specs[row.name]) for row in plan.rows)
    return dataclasses.replace(plan, suite=suite, rows=rows), sources


def _packages(plan: Plan) -> dict[str, str]:
    """``row -> package version``: who brings it, or what its file imports beside the frameworks."""
    brought: dict[str, str] = {}
    for row in plan.rows:
        found = find_variant(row.spec)
        needs = {found.package: version(found.package)} if not found.in_file else packages_of(found)
        if needs:
            brought[row.name] = ", ".join(f"{package} {number}" for package, number in sorted(needs.items()))
    return dict(sorted(brought.items()))


def _command(plan: Plan) -> str:
    """The command that makes the same records."""
    options = [f"--{name.replace('_', '-')} {value}" for name, value in changed_in(plan.protocol).items()]
    options += [f"--variant {row.spec}" for row in plan.rows if is_place(row.spec)]
    options += [f"--backend {plan.backend}"] if plan.backend else []
    return " ".join(["moebench run", plan.suite.name, *options])


def _left_out(plan: Plan, lookup: Lookup) -> dict[str, str]:
    """The reason of each row without a result on every task and budget.

    :class:`ResultsError` where the other rows leave nothing to compare.
    """
    rests_on = {*plan.suite.task_names, *(group.template["host"]["name"] for group in plan.groups)}
    if files := sorted(without_digest(name) for name in rests_on if is_place(plan.suite.plugins.get(name, ""))):
        raise ResultsError(
            f"the tasks and hosts of suite '{plan.suite.name}' are files that nobody else has ({', '.join(files)}); "
            "bring them in a package.",
            code="plugin-files-unpublished",
            names=files,
        )
    left_out = {row.name: reason for row in plan.rows if (reason := _why_not(plan, row, lookup))}
    left_out |= {
        row.name: f"it has the size of '{row.active_of}', which is left out."
        for row in plan.rows
        if row.active_of in left_out and row.name not in left_out
    }
    left_out |= {
        each.name: f"it is like '{each.like}', which is left out."
        for each in plan.suite.reference
        if each.like in left_out and each.name not in left_out
    }
    if BASELINE in left_out:
        raise ResultsError(
            f"'{BASELINE}' cannot be published ({left_out[BASELINE].rstrip('.')}), and every row is compared with it; "
            f"run `moebench run {plan.suite.name}` to its end.",
            code="baseline-incomplete",
            reason=left_out[BASELINE],
        )
    sizes = {row.name for row in plan.rows if row.ladder}
    if sizes & left_out.keys():  # a ladder that lacks a size is none
        left_out = dict.fromkeys(sizes, "a size of the dense ladder has no result.") | left_out
    if len(left_out.keys() - sizes) == len(plan.board_rows) - 1:
        raise ResultsError(
            f"no row beside '{BASELINE}' has a result on every task and budget of '{plan.suite.name}'.",
            code="no-complete-row",
            suite=plan.suite.name,
        )
    return left_out


def _why_not(plan: Plan, row: Row, lookup: Lookup) -> str:
    if row.spec == OBJECT:
        return "it was given as a Python object, which nobody else has; put it into a file or a package."
    for budget in [row.ladder] if row.ladder else plan.suite.budgets:
        evidence = RowRuns.of(plan, row, budget, lookup)
        if not evidence.complete and (reason := evidence.unranked(plan.suite.axis)):
            return reason.sentence
    return ""


def _without(plan: Plan, names: dict[str, str]) -> Plan:
    """The plan of the other rows of the board, without what names the machine's files."""
    rows = tuple(dataclasses.replace(row, selected=True) for row in plan.rows if row.name not in names)
    spaced = {name for row in rows for name in (row.name, row.variant)}
    suite = plan.suite.with_specs({row.name: row.spec for row in rows}).model_copy(
        update={
            "ranked": [each for each in plan.suite.ranked if each.name not in names],
            "reference": [each for each in plan.suite.reference if each.name not in names],
            "space": {name: values for name, values in plan.suite.space.items() if name in spaced},
            "ladder": None if any(row.ladder for row in plan.rows if row.name in names) else plan.suite.ladder,
            # A board needs neither its other measures nor its study, which may be files of this machine.
            "plugins": {name: spec for name, spec in plan.suite.plugins.items() if not is_place(spec)},
        }
    )
    groups = tuple(group for group in plan.groups if group.row not in names)
    measures = {name: session for name, session in plan.measures.items() if session["measure"] == REGRET}
    return dataclasses.replace(plan, suite=suite, rows=rows, groups=groups, fixed=(), measures=measures, data=None)


def _records(plan: Plan, lookup: Lookup, ran: Plan | None) -> list[Record]:
    """Of every run of the plan; :class:`ResultsError` where latency was not measured for exactly these rows, or with
    other versions of the software than those here. ran: the plan by which the suite last ran.
    """
    then, now = ran.versions if ran else plan.versions, plan.versions
    other = [f"{name} {then[name]}, and here {now.get(name)}" for name in then if then[name] != now.get(name)]
    for cell in latency_cells(plan, lookup):
        if not is_settled(lookup(cell.identity)) and other:
            raise ResultsError(
                f"latency on '{cell.task}' was measured with {'; '.join(other)}; publish with those versions, or run "
                f"`moebench run {plan.suite.name}` again, which measures it anew.",
                code="latency-of-other-versions",
                task=cell.task,
                versions=then,
            )
        if not is_settled(lookup(cell.identity)):
            raise ResultsError(
                f"latency on '{cell.task}' was not measured for exactly the rows that can be published; run "
                f"`moebench run {plan.suite.name}` again, with the same --variant options if there were any.",
                code="latency-not-measured",
                task=cell.task,
            )
    return [record for record in map(lookup, expected(plan, lookup)) if record is not None]
