"""The version of everything that determines results, and how it is printed.

The harness's version comes first, then in parentheses what was changed from the suite's: ``1 (seeds=3, trials=4)``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CHANGE = re.compile(r"(\w+)=(\d+)")


def label(protocol: str, changed: Mapping[str, int]) -> str:
    """The label of ``protocol`` with these settings changed, in their order."""
    changes = ", ".join(f"{name}={value}" for name, value in changed.items())
    return f"{protocol} ({changes})" if changes else protocol


def protocol_of(label: str) -> str:
    """The harness's protocol in a label."""
    return label.partition(" ")[0]


def changed_in(label: str) -> dict[str, int]:
    """What was changed, by the setting's name; empty where nothing was."""
    return {name: int(value) for name, value in _CHANGE.findall(label.partition(" ")[2])}


PROTOCOL = "2"

EARLIER: Mapping[str, str] = {"1": "withdrawn: hosts that hardly knew positions, a null that was steered"}
"""Earlier protocols -> what became of their boards, which are still read."""
