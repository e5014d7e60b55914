"""The suite ``compress``: what its plan holds equal, and a few steps of it from end to end."""

from __future__ import annotations

import pytest

from fixed_rows import measured, run, write
from moebench.errors import PluginError
from moebench.plans.cache import get_plan
from moebench.plans.make import make_plan
from moebench.records import Store
from moebench.studies.evidence import of_plans
from moebench.suites import load_experiment
from moebench.suites.request import ask, request_for
from moestudies.compress.rows import ALL, EXPERTS, KEEPS, SEEDS, SPARSE, TRAINED_SMALL, UNALIGNED, WAYS

(SUITE,) = load_experiment("compress").suites


def tiny(tmp_path, *measures, rows=(SPARSE,), **takes):
    """The suite with a few steps on digits, and of its measures those of these names."""
    values = SUITE.model_dump(exclude_defaults=True) | {"name": "compress", "seeds": 1, "full_seeds": 1}
    values["training"] |= {"steps": 3, "batch": 16}
    values["measure"] = [each for each in values["measure"] if each["name"] in measures]
    for each in values["measure"]:
        each["takes"] |= {name: value for name, value in takes.items() if name in each["takes"]}
        each.pop("seeds", None)
    values["host"] = {"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 2}
    values["task"] = [{"name": "digits"}]
    values["row"] = [{**each, "training": {}} for each in values["row"] if each["name"] in rows]
    return write(tmp_path / "compress.toml", values)


def test_every_way_and_number_kept_is_measured_and_recovered_alike():
    taken = [each.takes for each in SUITE.measure if each.kind == "compressed"]
    recovered = [each for each in taken if each["steps"]]
    found = {(each["method"], each["keep"], str(dict(each["settings"]))) for each in recovered}
    wanted = {(way.method, keep, str(dict(way.settings))) for way in WAYS for keep in KEEPS}
    assert found == wanted | {(ALL.method, EXPERTS, "{}")}
    alike = [{name: each[name] for name in ("inputs", "steps", "batch", "lr")} for each in recovered]
    assert all(each == alike[0] for each in alike)
    assert [each["settings"] for each in taken if not each["steps"]] == [dict(UNALIGNED.settings)] * len(KEEPS)
    assert SUITE.seeds >= SEEDS


def test_small_models_have_the_parameters_of_merged_ones_and_their_steps():
    rows = {each.name: each for each in SUITE.row}
    expert = 64 * 128 + 128 + 128 * 64 + 64  # two products with biases
    recovery = next(each.takes["steps"] for each in SUITE.measure if each.name == "merge 8")
    assert rows[SPARSE].expert_width == 128
    for keep in TRAINED_SMALL:
        small = rows[f"small {keep}"]
        assert small.budget == 2 * (keep * expert + 64 * EXPERTS)
        assert small.settings["experts"] == keep
        assert SUITE.training_of(small).steps == SUITE.training.steps + recovery


def test_the_plan_can_be_made(cifar10_dir):
    plan = make_plan(request_for(SUITE, device="cpu", data=cifar10_dir))
    assert len(plan.fixed) == (1 + len(TRAINED_SMALL)) * SUITE.seeds
    assert len(measured(plan)) == (1 + len(WAYS) * len(KEEPS) + len(KEEPS)) * SUITE.seeds
    assert len(measured(plan, alone=True)) == SUITE.seeds
    merged = [work.cell.session for work in measured(plan) if work.cell.session["takes"]["method"] == "merge"]
    assert all(len(each["code"]["merge"]) == 20 for each in merged)


METHOD = """
class Half:
    name = "half"

    def compress(self, met, keep, settings, generator):
        return met.layer
"""


def test_the_code_of_a_method_is_part_of_what_is_measured_with_it(tmp_path):
    path, made = tmp_path / "half.py", []

    def code():
        suite = tiny(tmp_path, "merge 4", "merge unaligned 4", method=f"{path}:Half")
        plan = get_plan(ask(str(suite)).requests[0], tmp_path, lambda: made.append(suite))
        (each,) = {each["code"][f"{path}:Half"] for each in plan.measures.values()}
        return each

    path.write_text(METHOD)
    first = code()
    assert code() == first
    assert len(made) == 1
    path.write_text(METHOD.replace("met.layer", "met.layer.eval()"))
    assert code() != first
    assert len(made) == 2
    path.unlink()
    with pytest.raises(PluginError):
        code()


def test_a_few_steps_of_it_run_from_end_to_end(tmp_path):
    measures = ("keep_all", "merge 4", "prune_reap 4", "merge unaligned 4", "cost")
    takes = {"inputs": 64, "steps": 2, "batch": 16, "keeps": [4], "batches": [1, 4], "rounds": 2, "repeats": 1}
    session = run(tiny(tmp_path, *measures, **takes), tmp_path / "results")
    assert session.unfinished == ()
    evidence = of_plans("compress", "", session.plans, Store(tmp_path / "results"))
    merged, pruned = WAYS[0], WAYS[2]
    for way in (merged, pruned, UNALIGNED):
        assert len(way.of(evidence, 4, "unrecovered")) == 1
        assert way.of(evidence, 4, "layers_params")[0] < way.of(evidence, 4, "layers_params before")[0]
        assert way.of(evidence, 4, "weights_mib")[0] < way.of(evidence, 4, "weights_mib before")[0]
        assert way.of(evidence, 4, "experts 0")[0] + way.of(evidence, 4, "experts 1")[0] == 8
    assert merged.of(evidence, 4, "layers_params") == pruned.of(evidence, 4, "layers_params")
    assert merged.of(evidence, 4, "model_flops")[0] < merged.of(evidence, 4, "model_flops before")[0]
    assert ALL.of(evidence, EXPERTS, "unrecovered") == ALL.of(evidence, EXPERTS, "before")
    (timed,) = evidence.find("compress", "compressed_cost", SPARSE)
    for name in ("whole", "merge 4", "merge_compress 4", "prune_usage 4"):
        assert timed.record.scores[f"{name} model_ms batch=4"] > 0
        assert timed.record.scores[f"{name} layers_ms_high batch=1"] > 0
