"""FLOPs of layers are counted once for all runs of a results directory, and never taken for those of other layers."""

import json

import pytest

import moebench.runner.flops as kept
from layers import slots
from moebench import machine, run
from moebench.budgets import flops_of_layers
from moebench.records import Store
from moebench.runner.flops import kept_flops
from moevariants.sparse_topk import SparseTopK

SETTINGS = {"experts": 8, "top_k": 2}
SIZES = (5, 6)


def counted(folder, code="1", shapes=None, sizes=SIZES, settings=SETTINGS):
    return kept_flops(folder, code, SparseTopK(), shapes or slots(2), sizes, settings)


@pytest.fixture
def times(monkeypatch):
    """Appends to a list whenever FLOPs are really counted."""
    done = []
    monkeypatch.setattr(kept, "flops_of_layers", lambda *given: (done.append(given), flops_of_layers(*given))[1])
    return done


def test_the_same_layers_are_counted_once(tmp_path, times):
    real = flops_of_layers(SparseTopK(), slots(2), SIZES, SETTINGS)
    assert [counted(tmp_path) for _ in range(3)] == [real] * 3
    assert len(times) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"code": "2"},
        {"shapes": slots(2, dim=32)},
        {"sizes": (6, 6)},
        {"settings": {"experts": 8, "top_k": 1}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_layers_are_counted_anew(other, tmp_path, times):
    counted(tmp_path)
    assert counted(tmp_path, **other) == counted(None, **other)
    assert len(times) == 3


@pytest.mark.parametrize("package", ["moebench", "torch"])
def test_another_version_counts_anew(package, tmp_path, times, monkeypatch):
    counted(tmp_path)
    others = machine.versions() | {package: "0"}
    monkeypatch.setattr(machine, "versions", lambda: others)
    counted(tmp_path)
    assert len(times) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"flops": 1}', '{"flops": "1"}'])
def test_a_file_that_does_not_say_what_it_is_of_is_replaced(content, tmp_path, times):
    real = counted(tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_text()
    path.write_text(content)
    assert counted(tmp_path) == real
    assert path.read_text() == whole


def test_without_a_folder_nothing_is_kept(tmp_path, times):
    counted(None)
    counted(None)
    assert len(times) == 2


def test_where_nothing_can_be_written_they_are_counted_each_time(tmp_path, times):
    (tmp_path / "file").write_text("")
    assert counted(tmp_path / "file") == counted(tmp_path / "file")
    assert len(times) == 2


TINY = """
title = "Digits, a few steps"
axis = "total"
budgets = [16_000]
seeds = 2
variants = ["sparse_topk"]

[[task]]
name = "digits"

[host]
name = "vit"
dim = 32
depth = 1
heads = 2

[training]
steps = 2
batch = 8

[tuning]
trials = 1
lr = { low = 1e-3, high = 1e-2, default = 3e-3 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }
"""


def test_the_runs_of_a_suite_share_one_count(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    results = tmp_path / "results"
    run(str(tmp_path / "tiny.toml"), results=results, device="cpu", mlflow=False, check=False, quiet=True)
    records = list(Store(results).records())
    files = [json.loads(path.read_text()) for path in (results / "flops").iterdir()]
    counts = {record.counts["flops_per_input"] for record in records if record.counts}
    assert {each["flops"] for each in files} == counts
    assert len(files) == 1
