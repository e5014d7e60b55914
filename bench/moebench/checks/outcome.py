"""The outcome of a check, and the report of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

from moebench.frames import frames_of, where
from moebench.records.conformance import Conformance
from moebench.text import told

Outcome = Literal["holds", "fails", "not applicable"]


class CheckFailed(AssertionError):  # noqa: N818  # An outcome, not an error.
    """A property does not hold; the message has the variant, the property and the exact disagreement."""


class NotApplicable(Exception):  # noqa: N818  # An outcome, not an error.
    """The property is not claimed, or there is nothing to check it on; the message is the reason."""


def one_line(error: BaseException) -> str:
    """``ValueError: its first line at mine.py, line 12``."""
    return told(error).removesuffix(": no message") + where(frames_of(error))


@dataclass(frozen=True)
class CheckResult:
    """One check on one variant. ``message`` is the failure or the reason; ``notes`` are merely reported."""

    name: str
    outcome: Outcome
    message: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class CheckReport:
    """All checks on one variant, named ``label``. ``problem``: why it could not be loaded. untried: how many checks
    were not made, because one failed that they rest on. stopped: why the last did not come back, where it did not.
    """

    label: str
    rows: tuple[CheckResult, ...] = ()
    problem: str = ""
    untried: int = 0
    stopped: str = ""

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

    @property
    def conformance(self) -> Conformance:
        """What is kept of it."""
        if self.problem:
            return Conformance(holds=0, of=0, failed=(self.problem,))
        applicable, failed = len(self.applicable), tuple(row.name for row in self.failures)
        holds, of = applicable - len(failed), applicable + self.untried
        return Conformance(holds=holds, of=of, failed=failed, stopped=self.stopped)

    def __getitem__(self, name: str) -> CheckResult:
        return {row.name: row for row in self.rows}[name]

    @property
    def summary(self) -> str:
        """``mine  58 of 60 checks hold``."""
        if self.problem:
            return f"{self.label}  cannot be checked"
        holding = len(self.applicable) - len(self.failures)
        return f"{self.label}  {holding} of {len(self.applicable)} checks hold"

    def __repr__(self) -> str:
        return f"<{self.summary}>"

    def _repr_html_(self) -> str:
        """For a notebook: the summary, then what fails and what is worth a note."""
        found = [("import", self.problem)] if self.problem else [(row.name, row.message) for row in self.failures]
        found += [(f"note: {row.name}", note) for row in self.rows for note in row.notes]
        rows = "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in found)
        return f"<b>{escape(self.summary)}</b>" + (f"\n<table>{rows}</table>" if rows else "")


class CheckReports(list[CheckReport]):
    """Several reports, as a notebook shows them."""

    def _repr_html_(self) -> str:
        return "\n<br>\n".join(report._repr_html_() for report in self)
