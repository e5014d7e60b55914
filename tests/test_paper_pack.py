"""Packs hold what a report uses, and say which line is damaged."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import papers
from moebench.errors import ResultsError
from moebench.plans.plan import Plan, Work
from moebench.records import Cell, Store
from moebench.studies.evidence import of_plans, rounded
from moebench.studies.write import pack_path, read_packs, to_lines, write_evidence
from moebench.suites import load_experiment
from moestudies.paper import REPORT

MIB = 2**20


def written(tmp_path, **how):
    evidence = papers.evidence(**how)
    for part in evidence.parts:
        pack_path(tmp_path, part.name).write_text(to_lines(part))
    return evidence


def read(tmp_path, name="paper"):
    experiment = load_experiment(name)
    return read_packs(name, experiment.title, experiment.suites, tmp_path)


def test_packs_give_back_what_they_were_made_of(tmp_path):
    evidence = written(tmp_path, full=False, leave_out="paper-depth")
    again = read(tmp_path)
    assert (again.name, again.title) == (evidence.name, evidence.title)
    for part, same in zip(evidence.parts, again.parts, strict=True):
        assert (part.name, part.full, part.seeds, part.missing) == (same.name, same.full, same.seeds, same.missing)
        for run, copy in zip(part.runs, same.runs, strict=True):
            assert (run.row, run.index, run.record.scores) == (copy.row, copy.index, copy.record.scores)
            assert run.arrays.keys() == copy.arrays.keys()
            assert all((run.arrays[name] == copy.arrays[name]).all() for name in run.arrays)
        assert to_lines(same) == to_lines(dataclasses.replace(part, runs=same.runs))


def test_packs_are_small_and_hold_arrays_of_the_first_seed_alone(tmp_path):
    evidence = written(tmp_path)
    for part in evidence.parts:
        assert pack_path(tmp_path, part.name).stat().st_size < 0.8 * MIB
        lines = [json.loads(line) for line in pack_path(tmp_path, part.name).read_text().splitlines()[1:]]
        assert {line["index"] for line in lines if line["arrays"]} <= {0}


def test_a_class_without_an_input_survives_the_pack(tmp_path):
    evidence = papers.evidence(name="paper-variants", full=False)
    (part,) = evidence.parts
    place, run = next((place, run) for place, run in enumerate(part.runs) if run.arrays)
    name, array = next(iter(run.arrays.items()))
    array[0] = np.nan
    pack_path(tmp_path, part.name).write_text(to_lines(part))
    read_again = {each.name: each for each in read(tmp_path).parts}[part.name].runs[place].arrays[name]
    assert np.array_equal(read_again, array, equal_nan=True)


def cut(text):
    return text[: len(text) // 2]


def changed(line, **new):
    value = json.loads(line)
    value["record"] |= new
    return json.dumps(value)


@pytest.mark.parametrize(
    ("number", "damage", "why"),
    [
        (3, cut, "not whole JSON"),
        (4, lambda line: changed(line, identity="0" * 20), "its identity is not the digest of its cell"),
        (2, lambda line: changed(line, status="oom"), "a run that is oom, not done"),
        (5, lambda line: "[]", "not an object"),
        (2, lambda line: "{}", "it lacks 'record'"),
        (2, lambda line: line.replace('"arm":"soft_moe"', '"arm":"hard_moe"'), "the suite has no row 'hard_moe'"),
        (1, lambda line: line.replace('"part":"paper-variants"', '"part":"other"'), "not the first line of a pack of"),
        (1, lambda line: "", "not whole JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, number, damage, why):
    written(tmp_path, name="paper-variants", full=False)
    path = pack_path(tmp_path, "paper-variants")
    lines = path.read_text().splitlines()
    lines[number - 1] = damage(lines[number - 1])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ResultsError) as caught:
        read(tmp_path, "paper-variants")
    facts = caught.value.facts
    assert (caught.value.code, facts["path"], facts["line"]) == ("damaged-part", path, number)
    assert why in facts["why"]


def test_a_pack_that_ends_early_is_damaged(tmp_path):
    written(tmp_path, name="paper-variants", full=False)
    path = pack_path(tmp_path, "paper-variants")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-2]) + "\n")
    with pytest.raises(ResultsError) as caught:
        read(tmp_path, "paper-variants")
    assert caught.value.facts["why"] == f"the pack ends here, after {len(lines) - 3} of {len(lines) - 1} runs"


def test_a_part_without_a_pack_has_not_run_and_none_at_all_is_an_error(tmp_path):
    written(tmp_path, name="paper-variants", full=False)
    found = {part.name: part for part in read(tmp_path).parts}
    assert found["paper-variants"].runs
    assert found["paper-norm"].problem == "there is no pack of it"
    with pytest.raises(ResultsError) as caught:
        read(tmp_path / "empty")
    assert caught.value.code == "no-packs"


def test_a_report_read_from_packs_writes_no_others(tmp_path):
    written(tmp_path, name="paper-variants", full=False)
    write_evidence(papers.REPORT, read(tmp_path), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.jsonl")] == ["paper-variants.jsonl"]


def test_numbers_keep_six_digits_at_any_size():
    assert rounded(np.array([[123456.7, 1.23456789e-11], [0.0, 1e300]])).tolist() == [
        [123457.0, 1.23457e-11],
        [0, 1e300],
    ]


def planned(part, store):
    """A plan whose works are the part's runs, and the runs in the store."""
    works = []
    for run in part.runs:
        cell = Cell.from_json(run.record.cell)
        more = {"details": {"seconds": 1.5}, "provenance": {**run.record.provenance, "suite": "another"}}
        store.put(run.record.model_copy(update=more))
        full = {name: array * (1 + 1e-9) for name, array in run.arrays.items()}
        others = {"scale_N": np.ones(3)} if run.index else {}  # which a report leaves where they are
        store.put_arrays(run.record.identity, {**full, **others, "loss_S": np.zeros(5)})
        row = f"{run.row} experts={run.setting('experts')}"
        works.append(Work(cell, row, None, run.index, f"{row} seed {run.index}", entry=run.row, ranked=False))
    return Planned(
        suite=part.suite.model_copy(update={"seeds": part.seeds}),
        protocol="1",
        full=part.full,
        device={"type": "cpu", "name": "cpu", "torch": "cpu"},
        backend=None,
        data=None,
        rows=(),
        groups=(),
        fixed=tuple(works),
    )


class Planned(Plan):
    """A plan whose works are all there is of it, measures included."""

    def works(self, lookup):
        return iter(self.fixed)


def test_the_store_is_read_by_the_plan(tmp_path):
    store = Store(tmp_path)
    evidence = papers.evidence(name="paper-norm", full=False)
    plan = planned(evidence.parts[0], store)
    found = of_plans("paper-norm", evidence.title, [plan], store, REPORT.arrays)
    assert to_lines(found.parts[0]) == to_lines(evidence.parts[0])
    assert {run.row for run in found.parts[0].runs} == {row.name for row in plan.suite.row if not row.only_full}
    assert not any("loss_S" in run.arrays for run in found.parts[0].runs)
    (part,) = of_plans("paper-norm", evidence.title, [plan], store, ["loss_S"]).parts
    assert {(run.index == 0, *run.arrays) for run in part.runs} == {(True, "loss_S"), (False,)}


def test_what_is_not_done_is_missing_with_its_reason(tmp_path):
    store = Store(tmp_path)
    evidence = papers.evidence(name="paper-variants", full=False)
    plan = planned(evidence.parts[0], store)
    first, second = evidence.parts[0].runs[:2]
    store.put(first.record.model_copy(update={"status": "oom", "reason": "out of memory"}))
    store.record_path(second.record.identity).unlink()
    (part,) = of_plans("paper-variants", "t", [plan], store).parts
    assert [entry[1:] for entry in part.missing] == [("oom", "out of memory"), ("not run", "")]
    assert len(part.runs) == len(evidence.parts[0].runs) - 2
