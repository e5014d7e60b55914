"""``moebench verify DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import COUNT, data_option
from moebench.cli.verbosity import note
from moebench.text import counted_noun, printable

if TYPE_CHECKING:
    from moebench.publish import Submission

SHOWN = 8
"""Sentences a check prints before it counts the rest."""


@click.command("verify")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--rerun",
    "count",
    type=COUNT,
    metavar="N",
    help="Also run N of its runs again, chosen by the digest of its records, and write on its page how many agree.",
)
@click.option(
    "--pick",
    default="",
    metavar="WORD",
    help="A word of yours that joins this digest, so that nobody could know before which runs are chosen.",
)
@data_option
def command(directory: Path, count: int | None, pick: str, data: Path | None) -> int:
    """Check what `moebench publish` wrote into DIR: files, schema, identities, budgets, plan, boards.

    The variants of a submission are imported and built: verify only what you would also run.

    Exit status: 0 when every check holds, 1 when one does not, 2 where manifest or records cannot be read, 3 when
    all hold that could be made here, and one needs a data set that is not here.
    """
    from moebench.errors import ResultsError, UsageError
    from moebench.plans.rows import by_others
    from moebench.processes import leave_directory
    from moebench.protocol import EARLIER, PROTOCOL, protocol_of
    from moebench.publish import Submission
    from moebench.publish.checks import CHECKS, make_checks
    from moebench.records.conformance import described

    if pick and count is None:
        raise UsageError("--pick says which runs are run again; give --rerun N with it.", code="pick-without-rerun")
    leave_directory()
    submission = Submission.read(directory, data)
    protocol = protocol_of(submission.plan.protocol)
    sentence = f"the runs of protocol {protocol} cannot be repeated by this version, which has protocol {PROTOCOL}."
    if count is not None and protocol in EARLIER:
        raise ResultsError(f"'{directory}': {sentence}", code="rerun-of-earlier-protocol", protocol=protocol)
    wrong, lacking, made_here = 0, list[str](), set[str]()
    width = max(map(len, CHECKS))

    def before_code() -> None:
        specs = ", ".join(dict.fromkeys(row.spec for row in submission.plan.rows))
        _say(f"{'':{width}}  the checks that follow execute the code of its rows: {specs}", err=True)

    for made in make_checks(submission, before_code):
        if made.missing:
            _say(f"{made.name:{width}}  not made: it needs {' and '.join(made.missing)}")
            continue
        if made.earlier:
            _say(f"{made.name:{width}}  not made: of protocol {made.earlier}")
            continue
        if made.lacks:
            lacking.append(made.lacks)
            _say(f"{made.name:{width}}  not checked here: {made.lacks} is missing")
            continue
        made_here.add(made.name)
        wrong += len(made.found)
        _say(f"{made.name:{width}}  {made.check.holds if not made.found else 'DOES NOT HOLD'}")
        for found in made.found[:SHOWN]:
            _say(f"{'':{width}}    {found}")
        if len(made.found) > SHOWN:
            _say(f"{'':{width}}    and {len(made.found) - SHOWN} more")
    for row in by_others(submission.plan.rows):
        said = described(submission.manifest.conformance.get(row.code_digest))
        _say(f"checks {row.name}  {said}{'' if 'conformance' in made_here else ', says its manifest'}")
    if count is not None and (wrong or lacking):
        _say("nothing is run again before the checks hold.", err=True)
    elif count is not None:
        wrong += _again(submission, count, pick)
    elif not wrong and not lacking and (seen := submission.verification):
        _say(
            f"{seen.rerun} of {seen.runs} runs were run again on {seen.device}, as {directory / 'verification.json'} "
            "says; only --rerun N sees it here."
        )
    if protocol in EARLIER:
        _say(sentence)
    rows, records = len(submission.plan.rows), len(submission.pack.records)
    verdict = "holds" if not wrong else f"does not hold: {counted_noun(wrong, 'finding')}"
    if lacking and not wrong:
        names = ", ".join(dict.fromkeys(lacking))
        verdict = f"holds as far as it could be checked here; {names} is missing: name its directory with --data DIR"
    _say(f"{directory}: {rows} rows, {records} records: {verdict}")
    return 1 if wrong else 3 if lacking else 0


def _say(text: str, *, err: bool = False) -> None:
    """A line on which nothing of a submission moves the cursor."""
    click.echo(printable(text), err=err)


def _again(submission: Submission, count: int, pick: str) -> int:
    """Run some again and say so on the page; returns how many do not agree."""
    import tempfile

    from moebench.board import write_board
    from moebench.errors import ResultsError
    from moebench.publish import write_index
    from moebench.publish.index import NAME as INDEX
    from moebench.publish.manifest import VERIFICATION, verification_text
    from moebench.publish.rerun import rerun, verification
    from moebench.publish.sources import board_of
    from moebench.records.store import write_atomic

    again = []
    with tempfile.TemporaryDirectory(prefix="moebench-") as scratch:
        for each in rerun(submission, count, Path(scratch), lambda label: note(f"again  {label}", err=True), pick):
            again.append(each)
            says = "the same" if each.exactly else "agrees" if each.agrees else "DOES NOT AGREE"
            numbers = [f"{n.name} {_number(n.published)}, now {_number(n.found)}" for n in each.numbers]
            rest = f" ({len(each.others)} scores not to the last digit)" if each.others and each.agrees else ""
            _say(f"again  {each.label}: {'; '.join(numbers)}: {says}{rest}")
    found = verification(submission, again, pick)
    try:
        write_atomic(submission.directory / VERIFICATION, verification_text(found).encode())
        write_board(board_of(submission.results), submission.directory, figures=False)
        index = submission.directory.resolve().parent.parent
        if (index / INDEX).is_file():
            write_index(index)
    except OSError as error:
        raise ResultsError(
            f"the runs were run again, and '{submission.directory}' cannot be written ({error.strerror}).",
            code="verification-not-written",
        ) from error
    return found.rerun - found.agreed


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
