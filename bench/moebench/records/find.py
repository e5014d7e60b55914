"""The record that a person means: by its identity, the beginning of one, or its file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from moebench.errors import ResultsError, UsageError
from moebench.records.record import Record
from moebench.records.store import Store

SHOWN = 3


def find_record(given: str, results: Path) -> tuple[Store, Record]:
    """The record and its store: the results directory around the file, or ``results`` for an identity.

    :class:`ResultsError` where there is none or it is damaged, :class:`UsageError` where several begin like this.
    """
    if given.endswith(".json") or os.sep in given:
        store, identity = _of_file(Path(given).expanduser())
    else:
        store = Store(results)
        identity = _of_beginning(given, store)
    record = store.get(identity)
    if record is None:
        path = store.record_path(identity)
        raise ResultsError(f"the record '{path}' is damaged; it was set aside.", code="record-damaged", path=path)
    return store, record


def _of_file(path: Path) -> tuple[Store, str]:
    if not path.is_file():
        raise ResultsError(f"there is no record '{path}'.", code="no-record-file", path=path)
    place = path.resolve()
    store = Store(place.parent.parent.parent)
    if store.record_path(place.stem) != place:
        raise ResultsError(
            f"'{path}' does not lie where a run wrote it, DIR/records/ab/IDENTITY.json, so its weights are not found.",
            code="record-moved",
            path=path,
        )
    return store, place.stem


def _of_beginning(given: str, store: Store) -> str:
    found = [each for each in store.identities() if re.fullmatch(r"[0-9a-f]+", given) and each.startswith(given)]
    if not found:
        raise ResultsError(
            f"there is no record '{given}' in '{store.root}'; give an identity of twenty hexadecimal digits, the "
            "beginning of one, or the path of a record's file.",
            code="no-record",
            given=given,
        )
    if len(found) > 1:
        some = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        raise UsageError(
            f"'{given}' begins {len(found)} records ({some}); give more of its digits.",
            code="ambiguous-record",
            given=given,
            found=found,
        )
    return found[0]
