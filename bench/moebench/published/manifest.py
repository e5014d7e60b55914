"""What a published directory says of itself: which suite on which device, made how, and the digests of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from moebench.errors import ResultsError
from moebench.published.reading import read_regular

NAME = "submission.json"
VERSION = 1


class Manifest(BaseModel):
    """submission: the version of this file. command: what made the records. packages: who brings each row's variant.

    sha256: digest of every file that is not made from the others, by its path in the directory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    submission: int = VERSION
    suite: str
    protocol: str
    device: str
    moebench: str
    command: str
    records: int
    packages: Mapping[str, str]
    sha256: Mapping[Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$")], str]


def sha256(content: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def to_text(manifest: Manifest) -> str:
    """The file's text."""
    return json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n"


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a directory; :class:`ResultsError` where there is none, or it is not one."""
    path = directory / NAME
    try:
        return Manifest.model_validate_json(read_regular(path))
    except OSError as error:
        raise ResultsError(f"'{directory}' holds no {NAME} that can be read ({error.strerror}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ResultsError(f"'{path}' is not a manifest: {where}: {first['msg']}.") from error
