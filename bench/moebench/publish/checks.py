"""What ``moebench verify`` checks of a published directory, in order; each check reports what is wrong in sentences.

Checks that import the variants come last, in processes of their own: a variant cannot change the verdict of the others.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from moebench.apart import ApartError, apart
from moebench.board import TEXTS
from moebench.board.reasons import SHOWN
from moebench.errors import DataError, MoebenchError
from moebench.files import LARGE, read_bytes
from moebench.plans.rows import BASELINE, by_others
from moebench.plugins.find import find_variant, find_variants, is_place
from moebench.plugins.identity import files_beside
from moebench.protocol import EARLIER, PROTOCOL, protocol_of
from moebench.publish import manifest, pack, planned
from moebench.publish.manifest import VARIANTS, VERIFICATION, file_of
from moebench.publish.sources import Submission, board_of, expected
from moebench.publish.write import directory_of
from moebench.records.schema import schema_of
from moebench.text import told

Find = Callable[[Submission], Iterator[str]]

LONG_NUMBER = re.compile(rb"-?\d\.\d{13,}(?:e-?\d+)?")
"""As JSON and CSV have them: all digits of a float64."""

ROUNDING = 1e-12


def files(submission: Submission) -> Iterator[str]:
    """Digests of the manifest, files that do not belong there, the records of the re-runs, the directory's own name."""
    directory, digests = submission.directory, submission.manifest.sha256
    needed = {pack.NAME, *_files_of_rows(submission)}
    for name in sorted(needed | digests.keys()):
        if name not in digests:
            yield f"the manifest has no digest of {name}."
        elif name not in needed:
            yield f"the manifest has a digest of {name}, which no row needs."
        elif not (directory / name).is_file():
            yield f"'{name}' is in the manifest and not in the directory."
        elif manifest.sha256(read_bytes(directory / name, LARGE)) != digests[name]:
            yield f"'{name}' is not the file that the manifest was made for: its SHA-256 differs."
    known = {manifest.NAME, VERIFICATION, VARIANTS, *(f"board.{suffix}" for suffix in TEXTS), *digests}
    known |= {parent.as_posix() for name in digests for parent in PurePosixPath(name).parents}
    if strange := sorted({path.relative_to(directory).as_posix() for path in directory.rglob("*")} - known):
        yield f"{', '.join(strange)} does not belong in a published directory."
    seen = submission.verification
    if seen is not None and seen.records != manifest.sha256(read_bytes(directory / pack.NAME, LARGE)):
        yield f"{VERIFICATION} is of other records than these; verify them with --rerun, or remove it."
    lies, place = directory.resolve().parts[-2:], directory_of(Path(), submission.plan).parts
    if lies != place:
        yield f"it lies in '{'/'.join(lies)}' and belongs in '{'/'.join(place)}'."


def _files_of_rows(submission: Submission) -> Iterator[str]:
    """The files of variants, and the modules beside them that they import; reading them executes nothing."""
    for row in submission.plan.rows:
        if name := file_of(row.spec):
            yield name
            with contextlib.suppress(MoebenchError):  # the file is not here, or is not Python: another check's finding
                beside = files_beside(find_variant(submission.spec(row.name)))
                yield from ((PurePosixPath(name).parent / path).as_posix() for path in beside)


def schema(submission: Submission) -> Iterator[str]:
    """Records that do not keep to the JSON Schema of their version."""
    from jsonschema import Draft202012Validator

    validators: dict[int, Draft202012Validator] = {}
    for record in submission.pack.records.values():
        version = record.schema_version
        validator = validators.setdefault(version, Draft202012Validator(schema_of(version)))
        for error in validator.iter_errors(record.model_dump(mode="json")):
            where = "/".join(map(str, error.absolute_path)) or "the record"
            yield f"record {record.identity}: {where}: {error.message[:200]}."


def rows(submission: Submission) -> Iterator[str]:
    """Code that is neither installed nor in a file beside the records that the manifest has a digest of."""
    plan, installed = submission.plan, find_variants()
    specs = [(row.name, row.spec) for row in plan.rows]
    specs += [(spec, spec) for spec in plan.suite.variants]
    specs += [(each.name, each.variant) for each in plan.suite.named]
    for name, spec in dict.fromkeys(specs):
        file = file_of(spec)
        if is_place(spec) and file is None:
            yield f"'{name}' is of '{spec}', and files of variants lie in {VARIANTS}/."
        elif file is not None and file not in submission.manifest.sha256:
            yield f"'{name}' is of '{spec}', and the manifest has no digest of that file."
        elif file is not None and name in installed:
            yield f"'{name}' is from a file, and that is the name of a variant of '{installed[name].package}'."
    if all(row.name != BASELINE for row in plan.rows):
        yield f"there is no row '{BASELINE}', and every row is compared with it."


def records(submission: Submission) -> Iterator[str]:
    """Missing and superfluous runs, runs without a result, another protocol than the plan's, one that is not known."""
    found, protocol = submission.pack.records, protocol_of(submission.plan.protocol)
    wanted = expected(submission.plan, submission.pack.get)
    yield from (f"the run {identity} of the plan is missing." for identity in wanted if identity not in found)
    yield from (f"the run {identity} is not one of the plan's." for identity in sorted(found.keys() - set(wanted)))
    for record in found.values():
        if not record.settled:
            yield f"record {record.identity} has no result: {record.status}."
        if record.cell["kind"] == "final" and record.status == "done" and not record.audit and protocol == PROTOCOL:
            yield f"record {record.identity} is of a final run whose model was not audited."
        if record.cell["protocol"] != protocol:
            yield f"record {record.identity} is of protocol {record.cell['protocol']}, and its plan is of {protocol}."
    if protocol != PROTOCOL and protocol not in EARLIER:
        yield f"it is of protocol {protocol}; this moebench has {PROTOCOL} and reads {', '.join(EARLIER)}."


def boards(submission: Submission) -> Iterator[str]:
    """A board that is missing, or is not what the records give here."""
    board = board_of(submission.results)
    for suffix, text in TEXTS.items():
        path = submission.directory / f"board.{suffix}"
        if not path.is_file():
            yield f"board.{suffix} is missing."
        elif not _same(read_bytes(path, LARGE), text(board).encode()):
            yield f"board.{suffix} is not what the records give; run `moebench publish` again."


def _same(published: bytes, found: bytes) -> bool:
    """Equal to the byte, but for the last digits of long numbers, in which sums differ between processors."""
    if published == found:
        return True
    if LONG_NUMBER.sub(b"", published) != LONG_NUMBER.sub(b"", found):
        return False
    pairs = zip(LONG_NUMBER.findall(published), LONG_NUMBER.findall(found), strict=True)
    return all(math.isclose(float(one), float(other), rel_tol=ROUNDING) for one, other in pairs)


def conformance(submission: Submission) -> Iterator[str]:
    """Rows of other authors whose checks come out otherwise here, in processes of their own."""
    from moebench.checks.run import run_checks  # imports torch

    for row in by_others(submission.plan.rows):
        said = submission.manifest.conformance.get(row.code_digest)
        if said is None:
            yield f"'{row.name}' is not among the rows whose checks the manifest reports."
            continue
        found = run_checks(submission.spec(row.name)).conformance
        if said.complete and not found.complete:
            yield f"'{row.name}' {found} checks here, and fails {', '.join(found.failed[:SHOWN])}; it is ranked."


class Check(NamedTuple):
    """holds: what is so where ``find`` yields nothing. needs: checks without which it would read, or run, anything.

    runs_code: whether it imports the variants. repeats: whether it makes something again as the protocol says, which
    only a version of that protocol can. apart: what is done in its place, in a process of its own, and also yields None
    where it goes on; planning takes such a process for each row.
    """

    holds: str
    find: Find
    needs: tuple[str, ...] = ()
    runs_code: bool = False
    repeats: bool = False
    apart: Callable[[Submission], Iterator[str | None]] | None = None


BEFORE_CODE = ("files", "schema", "rows")

CHECKS: Mapping[str, Check] = {
    "files": Check("every file is there, is what the manifest says, and nothing else is", files),
    "schema": Check("every record keeps to the schema of its version", schema),
    "rows": Check("the code of each row is installed or lies beside the records", rows, ("schema",)),
    "records": Check(
        "every run of the plan is there once, with a result, under its own identity, audited where final",
        records,
        ("schema",),
    ),
    "suite": Check("the suite is the one that moebench has under that name", planned.suite, ("schema",), repeats=True),
    "boards": Check("the boards are what the records give, to the last digit but rounding", boards, ("schema",)),
    "plan": Check(
        "variants, trials, seeds and data are those that this moebench plans", planned.plan, BEFORE_CODE, True, True
    ),
    "counts": Check(
        "parameters, FLOPs and budgets are counted again by building each variant",
        planned.counts,
        BEFORE_CODE,
        runs_code=True,
        repeats=True,
        apart=planned.counting,
    ),
    "conformance": Check(
        "every ranked row of another author holds all checks, as the manifest says",
        conformance,
        BEFORE_CODE,
        runs_code=True,
        repeats=True,
    ),
}


class Made(NamedTuple):
    """A check and what it found. missing: the checks that it needs and that do not hold, so that it was not made.
    earlier: the protocol for whose sake it was not made, for it repeats what this version does otherwise. lacks: the
    data set that it needs and that is not here, so that it was not made.
    """

    name: str
    check: Check
    found: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    earlier: str = ""
    lacks: str = ""


def make_checks(submission: Submission, before_code: Callable[[], None] = lambda: None) -> Iterator[Made]:
    """All checks, one after the other. before_code: called once, before anything of the variants is executed."""
    broken: set[str] = set()
    executed, protocol = False, protocol_of(submission.plan.protocol)
    for name, check in CHECKS.items():
        if check.repeats and protocol in EARLIER:
            yield Made(name, check, earlier=protocol)
            continue
        missing = tuple(needed for needed in check.needs if needed in broken)
        if check.runs_code and not missing and not executed:
            executed = True
            before_code()
        made = Made(name, check, missing=missing)
        if not missing:
            try:
                made = Made(name, check, _made(check, submission))
            except DataError as error:
                made = Made(name, check, lacks=str(error.facts["title"]))
        broken |= {name} if made.found or missing else set()
        yield made


def sentences(find: Find, submission: Submission) -> tuple[str, ...]:
    """What a check finds here; one that ends in an exception has met what no publication holds.

    :class:`DataError` where it needs a data set that is not here.
    """
    found: list[str] = []
    try:
        found.extend(find(submission))
    except Exception as error:
        if isinstance(error, DataError) and error.code == "data-missing":
            raise
        found.append(f"it cannot be checked: {told(error)}")
    return tuple(found)


def _made(check: Check, submission: Submission) -> tuple[str, ...]:
    """The findings of a check; what a variant does to a process of its own ends it, with what it had found."""
    if check.apart is None:
        return sentences(check.find, submission)
    found: list[str] = []
    try:
        for sentence in apart(_found, check.apart, submission.directory.absolute(), submission.data):
            found += [] if sentence is None else [str(sentence)]
    except ApartError as error:
        found.append(f"it cannot be checked: a variant {error}.")
    return tuple(found)


def _found(find: Callable[[Submission], Iterator[str | None]], directory: Path, data: Path | None) -> Iterator[Any]:
    """The body of that process."""
    submission = Submission.read(directory, data)
    try:
        yield from find(submission)
    except Exception as error:
        if isinstance(error, DataError) and error.code == "data-missing":
            raise
        yield f"it cannot be checked: {told(error)}"
