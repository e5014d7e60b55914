"""Ten thousand records: the board takes a few times what reading their files takes, and its page stays small."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path

import pytest

from many import many_rows
from moebench.board import TEXTS
from moebench.board.build import build_board
from moebench.records import Store

TIMES = 12
"""Times of reading the files alone; 6 to 7 were measured. Seconds would differ from machine to machine."""
BYTES = 5_000_000


def test_ten_thousand_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # nothing here has to survive a power cut
    bench = many_rows(tmp_path, 500, seeds=16, trials=4)
    began = time.process_time()  # of this process alone: the machine may be busy with others
    assert len([json.loads(path.read_bytes()) for path in (tmp_path / "records").rglob("*.json")]) == 10_001
    reading = time.process_time() - began
    store = Store(tmp_path)
    began = time.process_time()
    board = build_board(bench.plan, store.get, partial(store.finals_of, "tiny"))
    took = time.process_time() - began
    assert took < TIMES * reading, f"{took:.2f} s, and {reading:.2f} s to read the files"
    assert sum(entry.rank is not None for entry in board.entries) == 500
    sizes = {name: len(text(board).encode()) for name, text in TEXTS.items()}
    assert sizes["html"] < BYTES, f"{sizes['html']:,} bytes"
