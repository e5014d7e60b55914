"""A corpus of 200 MB: its memory beside that of a small one, and how soon a run starts once it is indexed."""

import json
import random
import subprocess
import sys
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

LARGE, SMALL = 200 << 20, 1 << 20
DOCUMENT = 1 << 12
GROUP = 1024
"""Rows of parquet in a group. A group for each row has a footer larger than its text, and memory goes into that."""

MORE_MIB = 600
MORE_SECONDS = 2.0

PROGRAM = """
import json, sys, time
from pathlib import Path
import torch
import moebench.tasks.tokens as tokens
from moebench.tasks import get_task, load_part
data, cache = map(Path, sys.argv[1:3])
tokens.cache_dir = lambda: cache
torch.set_num_threads(1)
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024
task = get_task(sys.argv[3])
start = time.perf_counter()
train, validation = (load_part(task, part, data) for part in ("train", "validation"))
seconds = time.perf_counter() - start
batch = train[torch.randperm(len(train))[:64]]  # from everywhere
task.loss({"token": torch.zeros(64, 64, task.size)}, batch)
for part in validation.batches(256):
    task.scores({"token": torch.zeros(len(part), 64, task.size)}, part)
total = sum(int(rows.sum()) for rows in train.inputs.split(1 << 14))  # a whole epoch is read
print(json.dumps({"mib": peak(), "seconds": seconds, "windows": len(train), "total": total}))
"""


def batched(items, count):
    items = iter(items)
    while batch := list(islice(items, count)):
        yield batch


def documents(size):
    """Different ones of 4 KiB, of words."""
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefgh", k=generator.randint(2, 9))) for _ in range(5000)]
    pool = " ".join(generator.choices(words, k=400_000))
    for number in range(size // DOCUMENT):
        start = generator.randrange(len(pool) - DOCUMENT)
        yield f"{number} {pool[start : start + DOCUMENT - 8]}"


def write(folder, form, size):
    folder.mkdir()
    if form == "parquet":
        schema = pa.schema([("text", pa.string())])
        with parquet.ParquetWriter(folder / "rows.parquet", schema) as writer:
            for texts in batched(documents(size), GROUP):
                writer.write_table(pa.table({"text": texts}, schema))
        return
    with (folder / ("one.txt" if form == "txt" else "lines.jsonl")).open("w") as file:
        for text in documents(size):
            file.write(text if form == "txt" else json.dumps({"text": text}) + "\n")


def run(data, cache, name):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, data, cache, name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("form", "name"),
    [("txt", "text"), ("jsonl", "text"), ("parquet", "text"), ("txt", "text?tokenizer=bpe-512")],  # txt is one line
)
def test_a_large_corpus_takes_little_memory_and_starts_soon(form, name, tmp_path, record_property):
    found = {}
    for which, size in (("small", SMALL), ("large", LARGE)):
        write(tmp_path / which, form, size)
        found[which] = [run(tmp_path / which, tmp_path / "cache", name) for _ in range(2)]  # the second is indexed
    (small, again), (large, indexed) = found["small"], found["large"]
    assert large["windows"] > 150 * small["windows"]
    assert indexed["total"] == large["total"]
    more_mib = max(large["mib"], indexed["mib"]) - small["mib"]
    more_seconds = indexed["seconds"] - again["seconds"]
    record_property("more_mib", round(more_mib))
    record_property("more_seconds", round(more_seconds, 2))
    print(f"{form}, {name}: {more_mib:.0f} MiB more, {more_seconds:.2f} s later; indexed in {large['seconds']:.1f} s")
    assert more_mib < MORE_MIB
    assert more_seconds < MORE_SECONDS
