"""What lies beside the records: the manifest, the files of variants, and what was run again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from moebench.board import Verification
from moebench.errors import ResultsError
from moebench.files import read_bytes
from moebench.records.conformance import Conformance

NAME = "submission.json"

VERIFICATION = "verification.json"
"""What was run again of the directory, so that its page can say so."""

VARIANTS = "variants"
"""Folder of the files that rows were given by; one that imports modules beside it has a folder of its own there."""

_IN_FILE = re.compile(rf"({VARIANTS}/(?:[A-Za-z_][A-Za-z0-9_]*/)?[^/:\\]+\.py):[A-Za-z_]\w*", re.ASCII)


class Manifest(BaseModel):
    """Suite, device and digests of the files of a published directory.

    submission: the version of this file. command: what made the records. packages: who brings each row's variant, or
    what its file imports. conformance: how many checks the code of each row of another author holds, by its identity.
    sha256: digest of every file that is not made from the others, by its path in the directory.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    submission: Literal[1] = 1
    suite: str
    protocol: str
    device: str
    moebench: str
    command: str
    records: int
    packages: Mapping[str, str]
    conformance: Mapping[str, Conformance] = {}
    sha256: Mapping[str, str]


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
        return Manifest.model_validate_json(read_bytes(path))
    except OSError as error:
        raise ResultsError(
            f"'{directory}' holds no {NAME} that can be read ({error.strerror}).",
            code="unreadable-manifest",
            directory=directory,
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ResultsError(
            f"'{path}' is not a manifest: {where}: {first['msg']}.", code="not-a-manifest", path=path, place=where
        ) from error


def read_verification(directory: Path) -> Verification | None:
    """None where nothing was run again; :class:`ResultsError` where the file is damaged."""
    path = directory / VERIFICATION
    try:
        return TypeAdapter(Verification).validate_json(read_bytes(path), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ResultsError(
            f"'{path}' is damaged or of an older moebench; remove it and verify the directory again.",
            code="damaged-verification",
            path=path,
        ) from error


def verification_text(verification: Verification) -> str:
    """The text of that file."""
    return json.dumps(dataclasses.asdict(verification), indent=1) + "\n"


def file_of(spec: str) -> str | None:
    """``variants/mine.py`` of ``variants/mine.py:Mine``, relative to the published directory; None for any other."""
    match = _IN_FILE.fullmatch(spec)
    return match[1] if match else None
