"""What was run again of a published directory, kept beside it so that its page can say so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from moebench.board.model import Verification
from moebench.errors import ResultsError

NAME = "verification.json"


def read_verification(directory: Path) -> Verification | None:
    """None where nothing was run again; :class:`ResultsError` where the file is damaged."""
    path = directory / NAME
    try:
        return Verification(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ResultsError(f"'{path}' is damaged; remove it and verify the directory again.") from error


def to_text(verification: Verification) -> str:
    """The file's text."""
    return json.dumps(dataclasses.asdict(verification), indent=1) + "\n"
