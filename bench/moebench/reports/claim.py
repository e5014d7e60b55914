"""A claim: what the paper says, what is measured here, and the rule that turns numbers into a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from moebench.reports.evidence import Evidence
from moebench.reports.verdict import Finding

Unit = Literal["difference", "share", "ratio", "MSE", "count", "slope", "rank correlation"]

NOT_RUN = "no run of it is done"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the report's first table.

    source: whose statement it is; an extension asks what the paper leaves open. part: the suite that answers it.
    unit: of the numbers; ``difference`` of accuracies or errors, ``share``, ``ratio``, ``MSE``, ``count``, ``slope`` or
    ``rank correlation``.
    """

    key: str
    source: Literal["paper", "extension"]
    part: str
    statement: str
    paper: str
    here: str
    rule: str
    unit: Unit
    judge: Callable[[Evidence], Finding]
