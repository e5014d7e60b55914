"""Take finished runs from a published directory, so that a row can join its board without training the others."""

from __future__ import annotations

from pathlib import Path

from moebench.published.pack import NAME, read_pack
from moebench.published.selection import expected
from moebench.runs import Store, is_settled


def reuse(directory: Path, store: Store) -> int:
    """Copy the records that the store lacks, or has only as runs to be tried again; returns how many.

    Those of the pack's own plan: others are nobody's to check, and would wait here for the suite that asks for them.
    Weights are not published, so there are none of them.
    """
    pack = read_pack(directory / NAME)
    records = filter(None, map(pack.get, expected(pack.plan, pack.get)))
    missing = [record for record in records if not is_settled(store.get(record.identity))]
    for record in missing:
        store.put(record)
    return len(missing)
