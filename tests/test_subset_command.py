"""``moebench subset``: which record is meant, its model rebuilt, the table, and every mistake in one sentence."""

import json
import re
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

from hand_made import SMALL_BUDGET, SMALL_HOST, accuracy, digits
from moebench.cli.main import main
from moebench.errors import PluginError, ResultsError, UsageError
from moebench.measures.subset.infer import RULES, subset_inference
from moebench.measures.subset.scores import SCORES
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.protocol import PROTOCOL
from moebench.records import Cell, Record, Store
from moebench.records.find import find_record
from moebench.runner.job import Job
from moebench.runner.run_cell import run_cell
from moebench.runner.trained import load_trained
from moebench.tasks import get_task

CPU = torch.device("cpu")


def run(results, variant, kind="final", steps=40, save_weights=True, **settings):
    """A cell run in this process; returns its record."""
    cell = Cell(
        kind=kind,
        protocol=PROTOCOL,
        task="digits",
        data_digest=get_task("digits").digest(),
        split=get_task("digits").split,
        host=SMALL_HOST,
        variant=variant,
        code_digest=code_identity(find_variant(variant)),
        settings={"lr": 5e-3, "weight_decay": 0.1, **settings},
        axis="total",
        budget=SMALL_BUDGET,
        seed=1,
        steps=steps,
        batch=32,
        micro_batch=None,
        precision="fp32",
        threads=1,
    )
    job = Job(
        cell=cell,
        row=variant,
        spec=variant,
        label=variant,
        suite="toy",
        results=results,
        data=None,
        device="cpu",
        backend=None,
        save_weights=save_weights,
    )
    record = run_cell(job)
    assert record.status == "done", record.reason
    return record


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A results directory with runs of all kinds, by name."""
    results = tmp_path_factory.mktemp("results")
    return results, {
        "soft": run(results, "soft_moe", steps=150),
        "topk": run(results, "sparse_topk", steps=20),
        "dense": run(results, "dense", steps=1),
        "trial": run(results, "soft_moe", kind="trial", steps=1),
        "weightless": run(results, "soft_moe", steps=2, save_weights=False),
    }


@pytest.fixture
def said(monkeypatch, capsys):
    """What the command prints: (exit status, standard output, standard error)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["moebench", "subset", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return call


def sentence(answer):
    """The one line that a mistake prints."""
    status, out, err = answer
    assert (status, out) == (2, "")
    (line,) = err.strip().splitlines()
    return line.removeprefix("moebench: ")


def edited(world, name, results, weights=True, **changes):
    """A copy of a record in another results directory, changed, under the identity that it then has."""
    source, records = world
    values = json.loads(Store(source).record_path(records[name].identity).read_text())
    cell = Cell.from_json(values["cell"] | changes.pop("cell", {}))
    record = Record(**(values | changes | {"cell": cell.to_json(), "identity": cell.identity}))
    store = Store(results)
    store.put(record)
    if weights:
        store.weights_path(record.identity).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Store(source).weights_path(records[name].identity), store.weights_path(record.identity))
    return record


def table_of(out):
    """Way -> its line, and the line of its layers below."""
    lines = out.splitlines()
    ways = [(index, re.split(r"\s{2,}", line, maxsplit=1)) for index, line in enumerate(lines) if " model " in line]
    return {name: (numbers.split(), lines[index + 1].split()) for index, (name, numbers) in ways}


def test_the_table_shows_what_each_way_keeps_and_costs(world, said):
    results, records = world
    record = records["soft"]
    status, out, err = said(record.identity, "--experts", 2, "--batch", 5, "--results", results, "--device", "cpu")
    assert (status, err) == (0, "")
    assert f"soft_moe  digits  record {record.identity}" in out
    rows = table_of(out)
    assert list(rows) == ["all 8 experts", "2 of 8, combine_sum, as_is", "random 2 of 8"]
    model = load_trained(Store(results), record, CPU)
    test = digits("test")
    everyone, chosen = (
        accuracy(subset_inference(model, test, k).values["class"], test.targets["class"]) for k in (8, 2)
    )
    assert everyone == record.scores["test_accuracy"]
    assert rows["all 8 experts"][0][:2] == [f"{everyone:.3f}", "1.000"]
    assert rows["2 of 8, combine_sum, as_is"][0][:2] == [f"{chosen:.3f}", f"{chosen / everyone:.3f}"]
    draws = [subset_inference(model, test, 2, score="random", seed=seed).values["class"] for seed in range(10)]
    by_chance = sum(accuracy(logits_NC, test.targets["class"]) for logits_NC in draws) / 10
    assert rows["random 2 of 8"][0][0] == f"{by_chance:.3f}"
    for word in ("batch 1", "batch 5", "FLOPs per input", "peak memory"):
        assert word in out
    first, layers = rows["2 of 8, combine_sum, as_is"]
    assert first.count("ms") == layers.count("ms") == 2
    assert sum(word.endswith("x)") for word in first) == 3
    flat = " ".join(out.split())
    assert f"accuracy on {len(test)} test inputs" in flat
    assert "in turns in one process" in flat
    assert "cpu (" in flat
    assert "diagnostic" not in flat
    assert "The record itself says" not in flat


def test_a_diagnostic_score_is_called_one_and_another_rule_is_shown(world, said):
    results, records = world
    _, out, _ = said(
        *(records["soft"].identity, "--experts", 2, "--batch", 1, "--results", results),
        *("--score", "combine_norm", "--rule", "renormalise"),
    )
    assert "2 of 8, combine_norm, renormalise" in table_of(out)
    assert "a diagnostic that saves no work" in " ".join(out.split())


def test_static_is_fitted_on_validation_data(world, said):
    results, records = world
    _, out, _ = said(records["soft"].identity, "--experts", 3, "--batch", 1, "--results", results, "--score", "static")
    model = load_trained(Store(results), records["soft"], CPU)
    validation, test = digits("validation"), digits("test")
    with torch.no_grad():
        routings = model(validation.inputs).routings
    fitted = [routing.mass_BE.double().mean(0) for routing in routings]
    logits_NC = subset_inference(model, test, 3, score="static", fitted=fitted).values["class"]
    assert table_of(out)["3 of 8, static, as_is"][0][0] == f"{accuracy(logits_NC, test.targets['class']):.3f}"


def test_accuracies_that_are_not_the_records_are_said(world, said, tmp_path):
    record = edited(world, "topk", tmp_path, scores={"test_accuracy": 0.123})
    _, out, _ = said(record.identity, "--experts", 8, "--batch", 1, "--results", tmp_path)
    assert "The record has 0.123 for all experts" in " ".join(out.split())


def test_a_record_is_found_by_identity_by_its_beginning_and_by_its_file(world):
    results, records = world
    for record in records.values():
        unique = next(
            n for n in range(1, 21) if sum(r.identity[:n] == record.identity[:n] for r in records.values()) == 1
        )
        path = Store(results).record_path(record.identity)
        for given in (record.identity, record.identity[:unique], str(path)):
            store, found = find_record(given, results)
            assert found == record
            assert store.weights_path("ab") == Store(results).weights_path("ab")
    store, _ = find_record(str(path), results / "elsewhere")
    assert store.root == results


def test_the_rebuilt_model_has_the_final_weights(world):
    results, records = world
    model = load_trained(Store(results), records["topk"], CPU)
    weights = load_file(Store(results).weights_path(records["topk"].identity))
    assert weights.keys() >= model.state_dict().keys()  # buffers that a state_dict leaves out are kept, too
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert not model.training


MISTAKES = [
    ("0000", (), "there is no record '0000' in '{results}'; give an identity"),
    ("xyz*", (), "there is no record 'xyz*'"),
    ("", (), "there is no record ''"),
    ("nowhere/ab.json", (), "there is no record 'nowhere/ab.json'."),
    ("{trial}", (), "record {trial} is of kind 'trial'; only a final run has a trained model."),
    ("{weightless}", (), "record {weightless} has no weights in "),
    ("{dense}", (), "is of 'dense', whose layers show no routing; there is no subset of experts to choose."),
    ("{soft}", ("--experts", 0), "0 of 8 experts cannot be kept; give a number from 1 to 8."),
    ("{soft}", ("--experts", 9), "9 of 8 experts cannot be kept; give a number from 1 to 8."),
    ("{soft}", ("--experts", "two"), "'two' is not a valid integer"),
    ("{soft}", ("--score", "combine_som"), "unknown score 'combine_som'; did you mean 'combine_sum'?"),
    ("{soft}", ("--rule", "renormalize"), "unknown rule 'renormalize'; did you mean 'renormalise'?"),
    ("{topk}", ("--score", "dispatch"), "SparseLayer cannot give the score 'dispatch'; it can give: combine_sum, "),
    ("{soft}", ("--device", "cuda:9"), "there is no device 'cuda:9'"),
    ("{soft}", ("--batch", 0), "0 is not in the range x>=1"),
]


@pytest.mark.parametrize(("record", "words", "expected"), MISTAKES)
def test_a_mistake_is_one_sentence(record, words, expected, world, said):
    results, records = world
    names = {"results": results, **{name: record.identity for name, record in records.items()}}
    usual = () if "--experts" in words else ("--experts", 2)
    assert expected.format(**names) in sentence(said(record.format(**names), *usual, *words, "--results", results))


def test_several_records_that_begin_alike_are_named(tmp_path):
    for digits_ in ("aa11", "aa12", "aa2", "aa3"):
        path = Store(tmp_path).record_path(digits_.ljust(20, "0"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(UsageError, match=r"^'aa' begins 4 records \(aa110+, aa120+, aa20+, \.\.\.\); give more of its"):
        find_record("aa", tmp_path)
    with pytest.raises(UsageError, match=r"^'aa1' begins 2 records \(aa110+, aa120+\); give"):
        find_record("aa1", tmp_path)


def test_a_damaged_record_is_set_aside(tmp_path):
    path = Store(tmp_path).record_path("ab" * 10)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ResultsError, match="is damaged; it was set aside"):
        find_record("ab", tmp_path)
    assert path.with_suffix(".damaged").exists()


def test_a_record_out_of_its_place_is_refused(world, tmp_path):
    results, records = world
    copy = tmp_path / f"{records['soft'].identity}.json"
    shutil.copy(Store(results).record_path(records["soft"].identity), copy)
    with pytest.raises(ResultsError, match="does not lie where a run wrote it, DIR/records/ab/IDENTITY"):
        find_record(str(copy), results)


def test_a_diverged_run_is_refused_with_its_reason(world, said, tmp_path):
    record = edited(world, "soft", tmp_path, status="diverged", reason="the loss was not finite.")
    words = sentence(said(record.identity, "--experts", 2, "--results", tmp_path))
    assert words == f"record {record.identity} ended as 'diverged' (the loss was not finite); it has to be 'done'."


def test_changed_or_missing_variant_code_is_refused(world, tmp_path):
    changed = edited(world, "soft", tmp_path, cell={"code_digest": "0" * 20})
    with pytest.raises(PluginError, match="is of 'soft_moe', whose code has changed since; train it again"):
        load_trained(Store(tmp_path), changed, CPU)
    gone = edited(world, "soft", tmp_path, cell={"variant": "nobodys"})
    with pytest.raises(PluginError, match="is of 'nobodys', which is not installed, nor unchanged in a file"):
        load_trained(Store(tmp_path), gone, CPU)


def test_weights_that_do_not_fit_are_refused(world, tmp_path):
    record = edited(world, "soft", tmp_path)
    other = Store(world[0]).weights_path(world[1]["topk"].identity)
    shutil.copy(other, Store(tmp_path).weights_path(record.identity))
    with pytest.raises(ResultsError, match=f"do not fit record {record.identity}: "):
        load_trained(Store(tmp_path), record, CPU)
    Store(tmp_path).weights_path(record.identity).write_bytes(b"half")
    with pytest.raises(ResultsError, match="do not fit record"):
        load_trained(Store(tmp_path), record, CPU)


def test_data_that_are_missing_or_others_are_refused(world, said, tmp_path):
    other = edited(world, "soft", tmp_path, cell={"data_digest": "0" * 20})
    words = sentence(said(other.identity, "--experts", 2, "--results", tmp_path))
    assert words.startswith("the copy of digits that is here is not the one of record")
    (tmp_path / "data").mkdir()
    missing = edited(world, "soft", tmp_path, cell={"task": "cifar10"})
    words = sentence(said(missing.identity, "--experts", 2, "--results", tmp_path, "--data", tmp_path / "data"))
    assert "CIFAR-10" in words
    assert str(tmp_path / "data") in words


def test_a_variant_from_a_file_is_found_where_a_suite_here_had_it(world, tmp_path):
    """The record does not say where the file is; what was asked of the suite does."""
    source = find_variant("soft_moe").source
    file = tmp_path / "mine.py"
    file.write_text(source.read_text())
    spec = f"{file}:SoftMoE"
    record = edited(
        world, "soft", tmp_path, cell={"variant": "SoftMoE", "code_digest": code_identity(find_variant(spec))}
    )
    folder = tmp_path / "quick"
    folder.mkdir()
    asked = {"suite": "quick", "extras": [spec], "data": None}
    asked |= dict.fromkeys(("seeds", "trials", "micro_batch", "device", "backend"))
    (folder / "latest.json").write_text(json.dumps(asked))
    model = load_trained(Store(tmp_path), record, CPU)
    weights = load_file(Store(tmp_path).weights_path(record.identity))
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    file.unlink()
    with pytest.raises(PluginError, match="is of 'SoftMoE', which is not installed"):
        load_trained(Store(tmp_path), record, CPU)


def test_the_help_names_every_score_and_rule(said):
    status, out, _ = said("--help")
    assert status == 0
    assert all(name in out for name in (*SCORES, *RULES))
