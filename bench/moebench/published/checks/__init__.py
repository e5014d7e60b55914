"""The checks of a published directory, in the order in which they are made; each says what is wrong in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from moebench.published.checks import boards, counts, files, planned, records, schema, scores, suite
from moebench.published.submission import Submission

Check = Callable[[Submission], Iterator[str]]

CHECKS: Mapping[str, tuple[str, Check]] = {
    "files": ("every file is there, is what the manifest says, and nothing else is", files.check),
    "schema": ("every record keeps to the schema of its version", schema.check),
    "records": ("every run of the plan is there once, with a result, under its own identity", records.check),
    "scores": ("the numbers inside each record agree with each other", scores.check),
    "suite": ("the suite is the one that moebench has under that name", suite.check),
    "plan": ("variants, trials, seeds and data are those that this moebench plans", planned.check),
    "counts": ("parameters, FLOPs and budgets are counted again by building each variant", counts.check),
    "boards": ("the boards are what the records give, byte for byte", boards.check),
}
"""Name -> (what holds, the check)."""
