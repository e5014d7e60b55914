"""The outcome of a check, and the report of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moebench.text import told

Outcome = Literal["holds", "fails", "not applicable"]


class CheckFailed(AssertionError):  # noqa: N818  # An outcome, not an error.
    """A property does not hold; the message has the variant, the property and the exact disagreement."""


class NotApplicable(Exception):  # noqa: N818  # An outcome, not an error.
    """The property is not claimed, or there is nothing to check it on; the message is the reason."""


def one_line(error: BaseException) -> str:
    """``ValueError: its first line``."""
    return told(error).removesuffix(": no message")


@dataclass(frozen=True)
class CheckResult:
    """One check on one variant. ``message`` is the failure or the reason; ``notes`` are merely reported."""

    name: str
    outcome: Outcome
    message: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """All checks on one variant, named ``label``. ``problem``: why it could not be loaded."""

    label: str
    rows: tuple[CheckResult, ...] = ()
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether it could be loaded and no check failed."""
        return not self.problem and not self.failures

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The rows that failed, in the order of the checks."""
        return tuple(row for row in self.rows if row.outcome == "fails")

    @property
    def applicable(self) -> tuple[CheckResult, ...]:
        """The rows whose check applies."""
        return tuple(row for row in self.rows if row.outcome != "not applicable")

    def __getitem__(self, name: str) -> CheckResult:
        return {row.name: row for row in self.rows}[name]
