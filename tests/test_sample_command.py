"""``moebench sample``: what a language model writes, the same for the same seed; and every mistake in one sentence."""

import sys

import pytest
import torch

from moebench.cli.main import main
from moebench.errors import ResultsError, UsageError
from moebench.measures.sampling import continued
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.protocol import PROTOCOL
from moebench.records import Cell
from moebench.records.find import find_record
from moebench.runner.job import Job
from moebench.runner.run_cell import run_cell
from moebench.runner.trained import load_trained
from moebench.tasks import get_task

CPU = torch.device("cpu")
SENTENCE = "the quick brown fox "


def run(results, data, task="text?window=16", host="decoder", *, variant="sparse_topk", weights=True):
    """A final run in this process; returns its record."""
    of = get_task(task)
    cell = Cell(
        kind="final",
        protocol=PROTOCOL,
        task=task,
        data_digest=of.digest(data),
        split=of.split,
        host={"name": host, "dim": 16, "depth": 1, "heads": 2, "positions": "rotary", "norm": "rms", "bias": False},
        variant=variant,
        code_digest=code_identity(find_variant(variant)),
        settings={"lr": 2e-2, "weight_decay": 0.1, "experts": 4},
        axis="total",
        budget=4096 if variant == "hash_token" else 4160,  # a router has 64
        seed=1,
        steps=120,
        batch=16,
        micro_batch=None,
        precision="fp32",
        threads=1,
    )
    names = {"row": variant, "spec": variant, "label": variant, "suite": "toy"}
    record = run_cell(Job(cell=cell, results=results, data=data, device="cpu", save_weights=weights, **names))
    assert record.status == "done", record.reason
    return record


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(results directory, directory of text, records by name)."""
    root = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moebench.tasks.tokens.cache_dir", lambda: root / "cache")
        (root / "data").mkdir()
        for number in range(60):
            (root / "data" / f"{number:03}.txt").write_text(SENTENCE * 40)
        results, data = root / "results", root / "data"
        yield (
            results,
            data,
            {
                "bytes": run(results, data),
                "bpe": run(results, data, "text?tokenizer=bpe-262&window=8"),
                "masked": run(results, data, "text_masked?window=16", "encoder"),
                "hash": run(results, data, variant="hash_token"),
                "weightless": run(results, data, "text?window=8", weights=False),
            },
        )


@pytest.fixture
def said(world, monkeypatch, capsys):
    """What the command prints: (exit status, standard output, standard error)."""
    results, data, records = world

    def call(name, *words):
        where = ("--results", results, "--data", data, "--device", "cpu")
        monkeypatch.setattr(sys, "argv", ["moebench", "sample", records[name].identity, *map(str, (*where, *words))])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return call


def caught(world, name, *words):
    """The error that the command ends with."""
    from moebench.cli.main import cli

    results, data, records = world
    with pytest.raises((UsageError, ResultsError)) as error:
        cli.main(["sample", records[name].identity, "--results", str(results), "--data", str(data), *words],
                 standalone_mode=False)  # fmt: skip
    return error.value.code


@pytest.mark.parametrize("name", ["bytes", "bpe"])
def test_greedy_decoding_goes_on_with_what_was_learned(said, name):
    """The prompt is longer than the window, so that the last tokens alone are read."""
    code, out, _ = said(name, "--prompt", SENTENCE * 2 + "the quick", "--temperature", 0, "--tokens", 24)
    assert code == 0
    assert out.startswith(SENTENCE * 2 + "the quick brown fox the")


def test_each_token_is_the_likeliest_after_those_before_it(world):
    results, _, records = world
    store, record = find_record(records["bytes"].identity, results)
    model = load_trained(store, record, CPU)
    ids = list(b"the quick brown ")
    added = continued(model, ids[:7], 9, window=16)
    with torch.no_grad():
        whole = model(torch.tensor([[*ids[:7], *added]])).outputs["token"].argmax(-1)
    assert whole[0, 6:-1].tolist() == added


def test_the_same_seed_gives_the_same_text_and_another_seed_another(said):
    hot = ("--temperature", 5, "--tokens", 40)
    texts = [said("bytes", *hot, "--seed", seed)[1] for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]


def test_control_characters_do_not_reach_the_terminal(said):
    out = said("bytes", "--prompt", "\x1b[31m", "--tokens", 1)[1]
    assert "\x1b" not in out


def test_records_of_other_kinds_and_without_weights_are_refused(world):
    assert caught(world, "masked") == "no-language-model"
    assert caught(world, "weightless") == "no-weights"


def test_a_refusal_is_one_sentence(said):
    code, out, err = said("masked")
    assert (code, out) == (2, "")
    assert "is no language model" in err
    assert err.count("\n") == 1


def test_a_trained_model_has_the_table_of_tokens_that_it_was_trained_with(world):
    results, data, records = world
    layer = load_trained(*find_record(records["hash"].identity, results), CPU).layers()[0]
    counts_V = torch.bincount(get_task("text?window=16").load("train", data).inputs.flatten().long(), minlength=256)
    loads_E = torch.bincount(layer.router.expert_PK.flatten(), counts_V.repeat_interleave(2), minlength=4)
    assert loads_E.max() / loads_E.double().mean() < 1.1


def test_a_record_of_text_says_where_its_most_frequent_tokens_go(world):
    table = world[2]["hash"].details["routes"]["token"]
    assert table["labels"][0] == "' '"
    assert 12 < len(table["labels"]) == len(table["last"]) == len(table["share"]) <= 24
    assert table["share"] == sorted(table["share"], reverse=True)
    assert all(sorted(row) == [0, 0, 0.5, 0.5] for row in table["last"])
    bpe = world[2]["bpe"].details["routes"]["token"]
    assert len(bpe["last"][0]) == 4
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in bpe["last"])
    assert "token" in world[2]["masked"].details["routes"]
