"""The example of docs/multitask.md, as its reader has it: description, suite, and a table."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

PAGE = Path(__file__).parents[2] / "docs/multitask.md"
ROWS = 300


def write_clicks(folder: Path) -> None:
    """``clicks.toml`` and ``recommender.toml`` as the page shows them, and a ``clicks.parquet`` that fits."""
    blocks = re.findall(r"^```toml\n# (\S+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert [name for name, _ in blocks] == ["clicks.toml", "recommender.toml"]
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
    rng, days = np.random.RandomState(0), np.arange("2026-08-01", "2026-11-01", dtype="datetime64[D]")
    columns = {
        "country": rng.choice(["fr", "it", "pe"], ROWS).tolist(),
        "device": rng.choice(["phone", "desk"], ROWS).tolist(),
        "age": [None if n % 50 == 0 else float(n % 60) for n in range(ROWS)],
        "price": rng.uniform(size=ROWS).tolist(),
        "clicked": rng.randint(2, size=ROWS).tolist(),
        "bought": rng.randint(2, size=ROWS).tolist(),
        "seconds": rng.uniform(size=ROWS).tolist(),
        "day": pa.array(days[np.arange(ROWS) * len(days) // ROWS]),
    }
    pyarrow.parquet.write_table(pa.table(columns), folder / "clicks.parquet")
