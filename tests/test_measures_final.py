"""All scores of a trained model: their names, what a trial may see, and what they may not touch."""

import json
import math

import numpy as np
import pytest
import torch

from hand_made import DIGITS, answer, digits, model_of, recipe, train
from moebench.measures.scores.final import scores_of
from moebench.measures.scores.information import class_information, dead_share, load_entropy, max_violation
from moebench.tasks.image_task import ImageTask
from test_subset_command import run

ALWAYS = {"validation_accuracy", "validation_loss_nats", "test_accuracy", "test_loss_nats", "specialization"}
OF_SUBSETS = {
    *(
        f"{name}_1_{n}"
        for n in (8, 4, 2)
        for name in (
            "accuracy_selected",
            "accuracy_static",
            "accuracy_random",
            "paper_gap",
            "retained",
            "mass_kept",
        )
    ),
    *("accuracy_all_experts", "accuracy_no_experts", "paper_gap", "selection_gain", "experts_gain"),
}
OF_ROUTING = {
    "class_information",
    "load_entropy",
    "dead_share",
    "max_violation",
    "output_cosine",
    "weight_cosine",
    "always_on_share",
    "polysemanticity",
    "expert_information_class",
    "expert_information_position",
    "router_entropy",
    "router_z",
}
OF_SPARSE = {"drop_rate", "token_coverage", "acting_experts", "max_violation_counts", "co_activation"}


@pytest.fixture(scope="module", params=["dense", "soft_moe", "sparse_topk"])
def scored(request):
    """(variant, model, scores) after a short training."""
    model = model_of(request.param)
    train(model, digits("train"), recipe(steps=60, batch=64, lr=5e-3))
    return request.param, model, scores_of(model, DIGITS, digits("validation"), digits("test"), "fp32")


def test_the_record_has_exactly_these_scores(scored):
    name, _, scores = scored
    extra = {"dense": set(), "soft_moe": OF_SUBSETS | OF_ROUTING}
    extra["sparse_topk"] = extra["soft_moe"] | OF_SPARSE
    assert set(scores.values) == ALWAYS | extra[name]


def test_a_null_and_nothing_else_has_a_reason(scored):
    name, _, scores = scored
    assert set(scores.reasons) == {key for key, value in scores.values.items() if value is None}
    if name == "dense":
        assert scores.reasons == {"specialization": "no experts"}
    assert all(type(value) is float and math.isfinite(value) for value in scores.values.values() if value is not None)
    json.dumps(scores.values, allow_nan=False)


def test_accuracies_are_those_of_the_answers(scored):
    _, model, scores = scored
    for part in ("validation", "test"):
        logits_NC, targets = answer(model, digits(part)).logits_NC, digits(part).targets["class"]
        assert scores.values[f"{part}_accuracy"] == float((logits_NC.argmax(1) == targets).double().mean())
    assert scores.arrays["test_prediction_N"].tolist() == logits_NC.argmax(1).tolist()
    assert scores.arrays["test_prediction_N"].dtype == np.int16
    if "accuracy_all_experts" in scores.values:
        assert scores.values["accuracy_all_experts"] == pytest.approx(scores.values["test_accuracy"])


def test_routing_is_described_on_validation_and_classes_on_test(scored):
    name, model, scores = scored
    if name == "dense":
        assert set(scores.arrays) == {"test_prediction_N"}
        return
    seen, test = answer(model, digits("validation")).masses, answer(model, digits("test")).masses
    targets = digits("test").targets["class"]
    for key, of_layer in (("load_entropy", load_entropy), ("dead_share", dead_share), ("max_violation", max_violation)):
        assert scores.values[key] == pytest.approx(sum(of_layer(mass_NE) for mass_NE in seen) / 2)
    expected = sum(class_information(mass_NE, targets) for mass_NE in test) / 2
    assert scores.values["class_information"] == pytest.approx(expected)
    for index, mass_NE in enumerate(test):
        class_mass_CE = scores.arrays[f"class_mass_CE_{index}"]
        assert class_mass_CE.shape == (10, 8)
        assert np.allclose(class_mass_CE[3], mass_NE[targets == 3].mean(0))


def test_scoring_is_repeatable_and_leaves_the_model_and_the_random_numbers(scored):
    _, model, _ = scored
    state, weights = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    one, again = (scores_of(model, DIGITS, digits("validation", 90), digits("test", 90), "fp32") for _ in range(2))
    assert one.values == again.values
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_scores_in_bf16_are_near_those_in_fp32(scored):
    _, model, _ = scored
    exact, rounded = (
        scores_of(model, DIGITS, digits("validation", 90), digits("test", 90), precision).values
        for precision in ("fp32", "bf16")
    )
    assert rounded["test_loss_nats"] == pytest.approx(exact["test_loss_nats"], rel=0.05)
    assert rounded["test_loss_nats"] != exact["test_loss_nats"]
    assert set(rounded) == set(exact)


@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk"])
def test_a_model_that_went_to_nan_is_scored_without_a_crash_and_shows_it(name):
    model = model_of(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    scores = scores_of(model, DIGITS, digits("validation", 40), digits("test", 40), "fp32")
    assert math.isnan(scores.values["validation_loss_nats"])


def test_tuning_sees_validation_scores_alone():
    scores = scores_of(model_of("soft_moe"), DIGITS, digits("validation"), None, "fp32")
    assert set(scores.values) == {"validation_accuracy", "validation_loss_nats"}


@pytest.mark.parametrize(
    ("kind", "parts"), [("trial", {"train", "validation"}), ("final", {"train", "validation", "test"})]
)
def test_only_a_final_run_ever_loads_test_data(kind, parts, tmp_path, monkeypatch):
    loaded, load = set(), ImageTask.load

    def load_and_note(task, part, data_dir=None):
        loaded.add(part)
        return load(task, part, data_dir)

    monkeypatch.setattr(ImageTask, "load", load_and_note)
    record = run(tmp_path, "dense", kind=kind, steps=2, save_weights=False)
    assert loaded == parts
    assert any(name.startswith("test") for name in record.scores) == (kind == "final")
