"""What was run again of a published directory, kept beside it so that its page can say so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from moebench.board.model import Verification
from moebench.errors import ResultsError
from moebench.published.reading import read_regular

NAME = "verification.json"


def read_verification(directory: Path) -> Verification | None:
    """None where nothing was run again; :class:`ResultsError` where the file is damaged."""
    path = directory / NAME
    try:
        return _reader().validate_json(read_regular(path), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ResultsError(
            f"'{path}' is damaged or of an older moebench; remove it and verify the directory again."
        ) from error


def to_text(verification: Verification) -> str:
    """The file's text."""
    return json.dumps(dataclasses.asdict(verification), indent=1) + "\n"


def _reader() -> TypeAdapter[Verification]:
    return TypeAdapter(Verification)
