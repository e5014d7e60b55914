"""Running checks: what can be asked for, what comes back, and that nothing stays behind."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch
from broken_state import SetsThreads
from good import Good, GoodLayer

from moebench.checks import all_checks, run_checks
from moebench.checks.subject import sample_settings
from moebench.contract import Choice, Space, Uniform, wrap

PLUGIN = """
import sys
sys.path.insert(0, {here!r})
from good import Good
{line}

class Mine(Good):
    name = "mine"
"""


def plugin(tmp_path, line=""):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(here=os.path.dirname(__file__), line=line))
    return f"{path}:Mine"


@pytest.mark.parametrize("name", sorted(all_checks()))
def test_check_is_one_property_in_one_sentence(name):
    text = all_checks()[name].__doc__
    assert text is not None
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text


def test_name_class_instance_and_file_are_taken(tmp_path):
    for variant in ("dense", Good, Good(), plugin(tmp_path)):
        report = run_checks(variant, only=["name_and_traits"])
        assert report.holds
        assert [row.name for row in report.rows] == ["name_and_traits"]


def test_checks_run_in_their_own_order_whatever_was_asked():
    started = []
    report = run_checks(Good, only=["space", "name_and_traits"], on_start=started.append)
    assert started == [row.name for row in report.rows] == ["name_and_traits", "space"]


def test_plugin_that_does_not_import_is_a_report_with_its_reason(tmp_path):
    report = run_checks(plugin(tmp_path, "import nothing_of_that_name"))
    assert not report.holds
    assert "it fails to import (ModuleNotFoundError" in report.problem


class Nothing: ...


class NeedsWords(Good):
    def __init__(self, words): ...


def test_class_that_is_no_variant_is_a_report_with_its_reason():
    assert run_checks(Nothing).problem == "Nothing: it must be a moebench.contract.Variant, not a Nothing."
    assert run_checks(NeedsWords).problem.startswith("NeedsWords: NeedsWords() raises TypeError: ")


class Explodes(Good):
    def build(self, shape, size, **settings):
        raise RuntimeError("first line\nsecond line")


def test_any_exception_is_a_failure_in_one_line():
    row = run_checks(Explodes, only=["pickle"])["pickle"]
    assert row.outcome == "fails"
    assert row.message.startswith("good raises RuntimeError: first line at test_run.py, line ")


class DeadExpertLayer(GoodLayer):
    def logits(self, x):
        dead = torch.arange(self.num_experts) == 1
        return super().logits(x).masked_fill(dead, -1e9)


class DeadExpert(Good):
    makes = DeadExpertLayer


def test_dead_expert_is_noted_and_does_not_fail():
    row = run_checks(DeadExpert, only=["every_parameter_learns"])["every_parameter_learns"]
    assert row.outcome == "holds"
    assert row.notes[0] == "1 expert (1) of 4 never chosen in 50 batches."


class Rude(Good):
    def build(self, shape, size, **settings):
        torch.manual_seed(42)
        torch.set_num_threads(5)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        np.random.seed(0)
        random.seed(0)
        os.environ["MOEBENCH_RUDE"] = "1"
        os.chdir("/")
        return super().build(shape, size, **settings)


def test_process_is_as_before_whatever_a_variant_does():
    def process():
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.initial_seed(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),
            dict(os.environ),
            os.getcwd(),
        )

    before = process()
    run_checks(Rude, only=["pickle", "random_states", "environment", "torch_settings", "learns_toy_set"])
    assert process() == before


@pytest.mark.parametrize(
    ("line", "check", "words"),
    [
        ("import numpy; numpy.random.seed(0)", "random_states", "NumPy's random state"),
        ("import torch; torch.manual_seed(42)", "random_states", "from 1234567 to 42"),
        ("import torch; torch.set_num_threads(1)", "torch_settings", "the number of threads"),
        ("import os; os.environ['MOEBENCH_MINE'] = '1'", "environment", "MOEBENCH_MINE"),
    ],
)
def test_side_effect_of_an_import_is_seen_although_it_is_long_past(tmp_path, line, check, words):
    row = run_checks(plugin(tmp_path, line), only=[check])[check]
    assert row.outcome == "fails"
    assert words in row.message
    assert "in the import of its module" in row.message


def test_threads_set_to_what_they_were_are_still_seen():
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        row = run_checks(SetsThreads, only=["torch_settings"])["torch_settings"]
    finally:
        torch.set_num_threads(torch_threads)
    assert row.outcome == "fails"


def test_wrapped_module_is_held_to_what_applies():
    def factory(dim, hidden):
        return torch.nn.Sequential(torch.nn.Linear(dim, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, dim))

    report = run_checks(wrap(factory, name="mlp"), only=["budget_is_met", "output_shape", "mask_is_obeyed"])
    assert [row.outcome for row in report.rows] == ["holds", "holds", "not applicable"]
    assert "keeps its width" in report["output_shape"].notes[0]


def test_samples_are_seeded_and_cover_every_option():
    space = Space({"experts": Choice((2, 4, 8)), "scale": Uniform(1e-3, 1e-1, 1e-2, log=True)})
    one, two = sample_settings(space, 20), sample_settings(space, 20)
    assert one == two
    assert {settings["experts"] for settings in one[:3]} == {2, 4, 8}
    assert all(space["scale"].holds(settings["scale"]) for settings in one)
    assert sample_settings(space, 20, seed=1) != one
