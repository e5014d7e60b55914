"""``moebench compress``: the table of a trained record, and every mistake in one sentence."""

import re

import pytest

from moebench.cli.main import main
from test_subset_command import run


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    return results, {
        "topk": run(results, "sparse_topk", experts=8),
        "soft": run(results, "soft_moe", steps=2, experts=8),
        "trial": run(results, "sparse_topk", kind="trial", steps=2, experts=8),
    }


@pytest.fixture
def said(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr("sys.argv", ["moebench", "compress", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def refused(said, *words):
    status, out, err = said(*words)
    assert (status, out) == (2, "")
    assert err.startswith("moebench: ")
    assert err.count("\n") == 1
    return err.removeprefix("moebench: ").strip()


def rows(out):
    """Name -> what stands behind it."""
    found = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()[2:]]
    return {cells[0]: cells[1:] for cells in found if len(cells) > 3}


def test_the_table_shows_what_is_left_and_what_it_saves(world, said):
    results, records = world
    record = records["topk"]
    status, out, err = said(
        *(record.identity, "--experts", 4, "--steps", 5, "--batch", 4, "--inputs", 64, "--results", results),
        *("--method", "merge", "--method", "merge_compress", "--setting", "merge_compress.rank=2", "--device", "cpu"),
    )
    assert (status, err) == (0, "")
    assert f"sparse_topk  digits  record {record.identity}" in out
    table = rows(out)
    whole = next(iter(table.values()))
    assert whole[0] == f"{record.scores['test_accuracy']:.3f}"
    assert next(iter(table)) == "all, as trained"
    merged, factored = [cells for name, cells in table.items() if name != "all, as trained"]
    assert [re.sub(r"\d+ and \d+", "", name) for name in table][1:] == ["merge, ", "merge_compress, "]
    assert all(0 <= float(cell) <= 1 for cells in table.values() for cell in cells[:2])
    assert "(0.5" in merged[2]
    assert float(factored[2].partition("(")[2][:-2]) < 0.5
    assert sum(cell.endswith("x)") for cell in factored) >= 4
    flat = " ".join(out.split())
    assert "Recovery: 5 steps of batch 32" in flat
    assert "batch 1 and batch 4" in flat


def test_without_recovery_there_is_no_column_for_it(world, said):
    results, records = world
    words = (
        "--experts",
        2,
        "--steps",
        0,
        "--batch",
        2,
        "--inputs",
        64,
        "--results",
        results,
        "--method",
        "prune_usage",
    )
    _, out, _ = said(records["topk"].identity, *words)
    assert "recovered" not in out
    assert "Recovery" not in out
    assert len(rows(out)) == 2


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("topk", ("--experts", 9), "9 of 8 experts cannot be kept; give a number from 1 to 8."),
        ("topk", ("--experts", 0), "0 of 8 experts cannot be kept"),
        ("topk", ("--experts", 2, "--method", "mrege"), "unknown compressor 'mrege'; did you mean 'merge'?"),
        ("topk", ("--experts", 2, "--setting", "rank=2"), "--setting takes METHOD.NAME=VALUE"),
        ("topk", ("--experts", 2, "--setting", "merge_compress.rank=2"), "add --method merge_compress"),
        (
            "topk",
            ("--experts", 2, "--setting", "merge.aline=true"),
            "merge has no setting 'aline'; did you mean 'align'?",
        ),
        ("soft", ("--experts", 2), "this model cannot be compressed: its tokens do not choose experts"),
        ("trial", ("--experts", 2), "is of kind 'trial'; only a final run has a trained model"),
    ],
)
def test_a_mistake_is_one_sentence(world, said, name, words, message):
    results, records = world
    assert message in refused(said, records[name].identity, *words, "--results", results)


def test_it_needs_a_number_and_a_record(said):
    assert "--experts" in refused(said, "abcdef")
    assert "nothere" in refused(said, "nothere", "--experts", 2)
