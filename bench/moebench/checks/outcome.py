"""The outcome of a check, and the report of all of them."""

from __future__ import annotations

import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from moebench.records.conformance import Conformance
from moebench.text import told

Outcome = Literal["holds", "fails", "not applicable"]


class CheckFailed(AssertionError):  # noqa: N818  # An outcome, not an error.
    """A property does not hold; the message has the variant, the property and the exact disagreement."""


class NotApplicable(Exception):  # noqa: N818  # An outcome, not an error.
    """The property is not claimed, or there is nothing to check it on; the message is the reason."""


def one_line(error: BaseException) -> str:
    """``ValueError: its first line (mine.py, line 12)``: the last place in an author's code that it came through."""
    return f"{told(error).removesuffix(': no message')}{_place(error)}"


def _place(error: BaseException) -> str:
    """The last place outside moebench and the frameworks; empty where it is all theirs."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(name, line) for name, line in frames if not _is_framework(Path(name))]
    return f" ({own[-1][0]}, line {own[-1][1]})" if own else ""


def _is_framework(path: Path) -> bool:
    folders = (Path(__file__).parents[1], Path(torch.__file__).parent)
    return (
        not path.is_file()
        or any(path.is_relative_to(folder) for folder in folders)
        or (path.is_relative_to(sysconfig.get_path("stdlib")) and "site-packages" not in path.parts)
    )


@dataclass(frozen=True)
class CheckResult:
    """One check on one variant. ``message`` is the failure or the reason; ``notes`` are merely reported."""

    name: str
    outcome: Outcome
    message: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """All checks on one variant, named ``label``. ``problem``: why it could not be loaded. untried: how many checks
    were not made, because one failed that they rest on.
    """

    label: str
    rows: tuple[CheckResult, ...] = ()
    problem: str = ""
    untried: int = 0

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
        return Conformance(holds=applicable - len(failed), of=applicable + self.untried, failed=failed)

    def __getitem__(self, name: str) -> CheckResult:
        return {row.name: row for row in self.rows}[name]
