"""How many of the checks a row's code holds: kept beside the records, by the code that was checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from moebench.records.store import write_atomic

NAME = "conformance.json"


class Conformance(BaseModel):
    """holds: checks that hold, ``of`` those that apply. failed: the names of the others, or why none was made. stopped:
    why the last one did not come back, such as that it took too long; empty where all did.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    holds: int
    of: int
    failed: tuple[str, ...] = ()
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """Whether all hold."""
        return 0 < self.of == self.holds and not self.failed

    def __str__(self) -> str:
        return f"holds {self.holds} of {self.of}"


def described(found: Conformance | None) -> str:
    """``holds N of N``, or ``not checked``."""
    return "not checked" if found is None else str(found)


_FILE = TypeAdapter(dict[str, Conformance])

NOT_CHECKED: Mapping[str, Conformance] = MappingProxyType({})


def read_conformance(results: Path) -> dict[str, Conformance]:
    """By the identity of the code; empty where nothing was checked, or the file is damaged."""
    try:
        return _FILE.validate_json((results / NAME).read_bytes())
    except (OSError, ValidationError):
        return {}


def keep_conformance(results: Path, code: str, found: Conformance) -> None:
    """Add one to what is kept."""
    kept = read_conformance(results) | {code: found}
    content = json.dumps({name: each.model_dump(mode="json") for name, each in sorted(kept.items())}, indent=1)
    write_atomic(results / NAME, f"{content}\n".encode())
