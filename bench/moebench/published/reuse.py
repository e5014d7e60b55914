"""Take finished runs from a published directory, so that a row can join its board without training the others."""

from __future__ import annotations

from pathlib import Path

from moebench.published.pack import NAME, read_pack
from moebench.runs import Store, is_settled


def reuse(directory: Path, store: Store) -> int:
    """Copy the records that the store lacks, or has only as runs to be tried again; returns how many.

    Weights are not published, so there are none of them.
    """
    records = read_pack(directory / NAME).records.values()
    missing = [record for record in records if not is_settled(store.get(record.identity))]
    for record in missing:
        store.put(record)
    return len(missing)
