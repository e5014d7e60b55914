"""The checks of a published directory, in the order in which they are made; each says what is wrong in sentences.

Those that import its variants come last and are made in a process of their own, so that no code of a submission runs
where the others are made and their verdict is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from moebench.published.checks import apart, boards, counts, files, planned, records, rows, schema, scores, suite
from moebench.published.submission import Submission


class Check(NamedTuple):
    """holds: what is so where ``find`` yields nothing. needs: checks without which it would read, or run, anything.

    runs_code: whether it imports the variants.
    """

    holds: str
    find: Callable[[Submission], Iterator[str]]
    needs: tuple[str, ...] = ()
    runs_code: bool = False


CHECKS: Mapping[str, Check] = {
    "files": Check("every file is there, is what the manifest says, and nothing else is", files.check),
    "schema": Check("every record keeps to the schema of its version", schema.check),
    "rows": Check("the rows, their device and their labels are what is published of a run", rows.check, ("schema",)),
    "records": Check(
        "every run of the plan is there once, with a result, under its own identity", records.check, ("schema",)
    ),
    "scores": Check("the numbers inside each record agree with each other", scores.check, ("schema",)),
    "suite": Check("the suite is the one that moebench has under that name", suite.check, ("schema",)),
    "boards": Check("the boards are what the records give, byte for byte", boards.check, ("schema",)),
    "plan": Check(
        "variants, trials, seeds and data are those that this moebench plans",
        planned.check,
        ("files", "schema", "rows"),
        runs_code=True,
    ),
    "counts": Check(
        "parameters, FLOPs and budgets are counted again by building each variant",
        counts.check,
        ("files", "schema", "rows"),
        runs_code=True,
    ),
}


class Made(NamedTuple):
    """A check and what it found. missing: the checks that it needs and that do not hold, so that it was not made."""

    name: str
    check: Check
    found: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def make_checks(submission: Submission) -> Iterator[Made]:
    """All checks, one after the other."""
    broken: set[str] = set()
    for name, check in CHECKS.items():
        missing = tuple(needed for needed in check.needs if needed in broken)
        made = Made(name, check, missing=missing) if missing else Made(name, check, _found(check, submission))
        broken |= {name} if made.found or missing else set()
        yield made


def _found(check: Check, submission: Submission) -> tuple[str, ...]:
    return apart.found(check.find, submission) if check.runs_code else apart.sentences(check.find, submission)
