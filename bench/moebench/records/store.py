"""The results directory: records as one JSON file a run, arrays and weights beside them."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from moebench.errors import ResultsError
from moebench.files import LARGE, UnfitFileError, read_bytes
from moebench.records.canonical import digest
from moebench.records.record import READ, Record

if TYPE_CHECKING:
    import numpy as np


LOG = logging.getLogger(__name__)

LARGEST = 1e40
"""No number of a record is larger: float32 ends at 3.4e38, and squares of squares of this one are still float64."""


class Store:
    """Records under ``root/records``, sidecars under ``root/sidecars``, weights under ``root/weights``,
    FLOPs under ``root/flops``.

    Every write is whole or absent: a temporary file beside the target, flushed to disk, then renamed.
    ``damaged`` lists, after reading, the files that were set aside because they are not what was written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.damaged: list[Path] = []

    def prepare(self) -> None:
        """Create the directory; :class:`ResultsError` if it cannot be written."""
        try:
            (self.root / "records").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "records"):
                pass
        except OSError as error:
            raise ResultsError(
                f"cannot write to the results directory '{self.root}' ({error.strerror}); "
                "choose another with --results DIR.",
                code="results-not-writable",
                results=self.root,
            ) from error

    def record_path(self, identity: str) -> Path:
        """The record of a run."""
        return self.root / "records" / identity[:2] / f"{identity}.json"

    def sidecar_path(self, identity: str) -> Path:
        """The arrays of a run."""
        return self.root / "sidecars" / identity[:2] / f"{identity}.npz"

    def weights_path(self, identity: str) -> Path:
        """The final weights of a run."""
        return self.root / "weights" / identity[:2] / f"{identity}.safetensors"

    def checkpoint_path(self, identity: str) -> Path:
        """The checkpoint of a run that has not ended."""
        return self.root / "checkpoints" / identity[:2] / f"{identity}.checkpoint"

    @property
    def flops_folder(self) -> Path:
        """The FLOPs of layers that were counted, which any run of the same layers finds."""
        return self.root / "flops"

    def identities(self) -> list[str]:
        """Of all records, sorted."""
        return sorted(path.stem for path in (self.root / "records").glob("*/*.json"))

    def get(self, identity: str) -> Record | None:
        """The record, or None where there is none or it is damaged (then it is set aside and listed)."""
        path = self.record_path(identity)
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            return None
        except UnfitFileError:
            self._set_aside(path)
            return None
        except OSError as error:
            raise _cannot_read("record", path, error) from error
        try:
            record = parse_record(content.decode())
            if record.identity != identity:
                raise ValueError(f"holds identity {record.identity}")
        except ValueError:
            self._set_aside(path)
            return None
        return record

    def put(self, record: Record) -> Path:
        """Write a record; an existing one of the same identity is replaced (only unsettled ones are rerun)."""
        path = self.record_path(record.identity)
        self._write(path, (record.model_dump_json(indent=1) + "\n").encode())
        return path

    def put_arrays(self, identity: str, arrays: Mapping[str, np.ndarray]) -> Path:
        """Write the sidecar of a run: numbers, booleans or text, never pickled objects."""
        import numpy as np

        for name, array in arrays.items():
            if np.asarray(array).dtype.hasobject:
                raise TypeError(f"the array '{name}' holds objects; a sidecar holds numbers, booleans or text")
        buffer = io.BytesIO()
        fields: dict[str, Any] = dict(arrays)
        np.savez_compressed(buffer, **fields)
        path = self.sidecar_path(identity)
        self._write(path, buffer.getvalue())
        return path

    def arrays(self, identity: str) -> dict[str, np.ndarray]:
        """The sidecar of a run; empty where there is none or it is damaged (then it is set aside and listed)."""
        import numpy as np

        path = self.sidecar_path(identity)
        try:
            with np.load(io.BytesIO(read_bytes(path, LARGE)), allow_pickle=False) as loaded:
                return dict(loaded)
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, UnfitFileError):
            self._set_aside(path)
            return {}
        except OSError as error:
            raise _cannot_read("sidecar", path, error) from error

    def records(self) -> Iterator[Record]:
        """All readable records, in the order of their identities."""
        yield from filter(None, map(self.get, self.identities()))

    def finals_of(self, suite: str, known: Container[str] = ()) -> Iterator[Record]:
        """The readable records of a suite's final runs, by identity, without the known ones."""
        marks = (f'"suite": {json.dumps(suite)}'.encode(), b'"kind": "final"')
        for identity in self.identities():
            if identity in known:
                continue
            with contextlib.suppress(OSError):
                content = read_bytes(self.record_path(identity))
                # A results directory holds every suite's records: only those that may be meant are parsed.
                if all(mark in content for mark in marks) and (record := self.get(identity)) is not None:
                    yield record

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_atomic(path, content)
        except OSError as error:
            raise cannot_write(path, error) from error

    def _set_aside(self, path: Path) -> None:
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError:
            aside = path
        self.damaged.append(aside)


class Records:
    """A store's records, each settled one read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._settled: dict[str, Record] = {}

    def __call__(self, identity: str) -> Record | None:
        """The record of an identity, or None."""
        if identity in self._settled:
            return self._settled[identity]
        record = self.store.get(identity)
        if record is not None and record.settled:
            self._settled[identity] = record
        return record


def parse_record(text: str) -> Record:
    """A record from its JSON; ValueError if it is truncated, of another schema or of another identity."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("not a record")
    if (version := value.get("schema_version")) not in READ:
        raise ValueError(f"a record of schema version {version!r}, and this moebench reads {', '.join(map(str, READ))}")
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"not a record: {where}{': ' * bool(where)}{first['msg']}") from error
    if digest(record.cell) != record.identity:
        raise ValueError("its identity is not the digest of its cell")
    return record


def parse_json(text: str) -> Any:
    """A value from JSON.

    ValueError where it is truncated, has NaN, an infinity or a number that no run gives, or is nested too deeply.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number in JSON")

    try:
        return json.loads(text, parse_constant=refuse, parse_float=_float, parse_int=_int)
    except json.JSONDecodeError as error:
        raise ValueError(f"not whole JSON ({error.msg} at {error.pos})") from error
    except RecursionError as error:
        raise ValueError("not JSON that can be read: nested too deeply") from error


def _float(text: str) -> float:
    value = float(text)
    if not abs(value) <= LARGEST:
        raise ValueError(f"{text[:20]} is larger than any number of a run")
    return value


def _int(text: str) -> int:
    if len(text) > len(str(int(LARGEST))):
        raise ValueError(f"{text[:20]}... is larger than any number of a run")
    return int(text)


def cannot_write(path: Path, error: OSError) -> ResultsError:
    """The error for a file or folder of the results that cannot be written."""
    return ResultsError(f"cannot write '{path}' ({error.strerror}).", code="cannot-write", path=path)


def _cannot_read(what: str, path: Path, error: OSError) -> ResultsError:
    return ResultsError(f"cannot read the {what} '{path}' ({error.strerror}).", code="cannot-read", path=path)


def write_atomic(path: Path, content: bytes) -> None:
    """Write, flush to disk and rename, so that a reader sees the whole file or none."""
    LOG.info("writes %s", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
