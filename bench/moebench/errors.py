"""Every error a user can cause. The message is one sentence: what is wrong, and what would be right.

MoebenchError
├── UsageError            wrong words on the command line or in a call
│   ├── UnknownNameError  a name that nothing has; carries the nearest match
│   └── DeviceError       a device that this machine does not have
├── SuiteError            a suite file that cannot be read or does not validate
├── PluginError           a variant that cannot be found, imported or accepted
│   └── LayerError        a layer that cannot be trained as it is built
├── BudgetError           no size of this variant meets the budget; names the nearest that do
├── HostError             a variant that has no place in a host, because of what it is
├── DataError             a data set that is missing, truncated or not what it says
└── ResultsError          a results directory that cannot be written, or a record that cannot be read

The command line prints the message and exits with status 2; nothing that was written is lost. Each message has a code,
which no other message has, and the facts that it names: ``SuiteError("the key 'steps' is missing.", code="missing-key",
key="steps")``. Tests and scripts look at the code; only one test of each message reads its words.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any


class MoebenchError(Exception):
    """Root of the tree; never raised itself. code: of the message. facts: what it names, by name."""

    def __init__(self, message: str, *, code: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.code, self.facts = code, facts

    def __reduce__(self) -> tuple[Any, ...]:
        return Exception.__new__, (type(self), *self.args), self.__dict__


class UsageError(MoebenchError):
    """The call or command line asks for something that does not make sense."""


class UnknownNameError(UsageError):
    """A name that is not among those that exist."""

    def __init__(self, what: str, name: str, known: Iterable[str], where: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}."
        message = f"unknown {what} '{name}'{f' in {where}' if where else ''}; {hint}"
        super().__init__(message, code=f"unknown-{what.replace(' ', '-')}", name=name, known=known, where=where)


class DeviceError(UsageError):
    """The device that was asked for is not on this machine."""


class SuiteError(MoebenchError):
    """A suite file that cannot be read, has an unknown key or a value of the wrong type."""


class PluginError(MoebenchError):
    """A variant that cannot be found, imported or accepted. In a suite it becomes a row with this reason."""


class LayerError(PluginError):
    """A layer that cannot be trained as it is: weights that nobody drew, losses that are no scalars. In a suite it
    becomes a row with this reason.
    """


class BudgetError(MoebenchError):
    """No size of the variant comes within 1 % of the budget.

    The fact ``nearest`` holds the reachable amounts around the budget, smallest first.
    """


class HostError(MoebenchError):
    """A variant, or some settings of it, that may not stand where a host puts its layers. In a suite it becomes a row
    with this reason.
    """


class DataError(MoebenchError):
    """A data set that is missing, truncated or of another format."""


class ResultsError(MoebenchError):
    """A results directory or record that cannot be used."""


def to_plain(error: MoebenchError) -> dict[str, Any]:
    """An error as JSON has it, to be raised again in another process."""
    facts = json.loads(json.dumps(error.facts, default=str))
    return {"kind": type(error).__name__, "message": str(error), "code": error.code, "facts": facts}


def from_plain(value: dict[str, Any]) -> MoebenchError:
    """The error again; what JSON does not have has become text."""
    kind = globals().get(value["kind"])
    ours = kind if isinstance(kind, type) and issubclass(kind, MoebenchError) else PluginError
    error: MoebenchError = Exception.__new__(ours, value["message"])
    error.code, error.facts = value["code"], value["facts"]
    return error
