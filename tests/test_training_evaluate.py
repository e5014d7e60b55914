"""A trained model's answers, and what asking leaves behind."""

import weakref

import pytest
import torch

from hand_made import (
    DIGITS,
    Plain,
    Table,
    Toy,
    answer,
    digits,
    model_of,
    numbered,
    numbered_model,
    one_hots,
    single_layer,
    split,
)
from moebench.contract import Routing
from moebench.training import evaluate as evaluate_module
from moebench.training.evaluate import _pass_on, evaluate, evaluate_task, mean_loss

NAMES = ["dense", "soft_moe", "sparse_topk"]


@pytest.mark.parametrize("name", NAMES)
def test_batches_do_not_change_the_answers(name):
    model, data = model_of(name), digits("test", 50)
    whole, parts = answer(model, data), answer(model, data, batch=7)
    assert whole.logits_NC.shape == (50, 10)
    assert torch.allclose(whole.logits_NC, parts.logits_NC, atol=1e-5)
    for mass_NE, other_NE in zip(whole.masses, parts.masses, strict=True):
        assert (mass_NE is None) == (name == "dense")
        if mass_NE is not None:
            assert mass_NE.shape == (50, 8)
            assert torch.allclose(mass_NE, other_NE, atol=1e-5)


class Random(Plain):
    """Noise in training only, as dropout."""

    def compute(self, x_BTD, routing, keep_BE=None):
        return x_BTD + torch.rand(1) if self.training else x_BTD


@pytest.mark.parametrize("training", [True, False])
def test_asking_changes_neither_mode_nor_random_numbers_nor_weights(training):
    layer = Random()
    model = single_layer(layer, image=(1, 1, 2), classes=2, grid=1).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    data = split(torch.zeros(9, 1, 1, 2), torch.zeros(9, dtype=torch.long))
    answers = answer(model, data, batch=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == [training] * len(list(model.modules()))
    assert layer.modes == [False] * 3
    assert layer.after_steps == []
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not answers.logits_NC.requires_grad


class Broken(Plain):
    def route(self, x_BTD, context):
        raise RuntimeError("broken")


def test_a_layer_that_fails_leaves_the_model_in_its_mode():
    model = single_layer(Broken(), image=(1, 1, 2), classes=2, grid=1).train()
    with pytest.raises(RuntimeError, match="broken"):
        answer(model, one_hots([0, 1], 2))
    assert model.training


def test_select_reaches_every_batch():
    layer = Table(lambda x_BTD: torch.ones(len(x_BTD), 2), torch.eye(2))
    model = single_layer(layer, image=(1, 1, 2), classes=2, head=torch.eye(2), grid=1)
    data = one_hots([0, 1, 0, 1, 0], 2)
    answers = answer(model, data, batch=2, select=lambda visit: _only_first(visit.routing))
    assert torch.equal(answers.logits_NC, torch.tensor([[1.0, 0.0]] * 5))


def _only_first(routing: Routing):
    return torch.arange(2).expand_as(routing.mass_BE) == 0


def test_bf16_answers_are_given_in_fp32_and_near():
    model, data = model_of("soft_moe"), digits("test", 50)
    exact, rounded = answer(model, data), answer(model, data, precision="bf16")
    assert rounded.logits_NC.dtype == torch.float32
    assert rounded.masses[0].dtype == torch.float32
    assert not torch.equal(exact.logits_NC, rounded.logits_NC)
    assert torch.allclose(exact.logits_NC, rounded.logits_NC, atol=0.05)


def test_outputs_are_dropped_batch_by_batch():
    """When a batch is read, the outputs of the one before are gone: never all logits of a data set."""
    seen, alive = [], []

    def read(outputs, batch):
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(outputs["class"]))
        return DIGITS.scores(outputs, batch)

    found = evaluate(model_of("dense"), digits("test", 7), read, batch=2)
    assert alive == [0, 0, 0, 0]
    assert all(ref() is None for ref in seen)
    assert {value.shape for value in found.values.values()} == {(7,)}


def test_a_task_says_how_many_inputs_a_pass_has():
    layer = Plain()
    model, task = numbered_model(layer), Toy()
    task.evaluation_batch = 3
    evaluate_task(model, task, numbered(7))
    assert [len(x_BTD) for x_BTD in layer.seen] == [3, 3, 1]


def test_on_cuda_a_pass_has_more_inputs_as_far_as_they_are_small():
    assert _pass_on("cpu", 256, 3072) == 256
    assert _pass_on("cuda", 256, 3072) == 4096
    assert _pass_on("cuda", 256, 3 * 224 * 224) == 256, "large images"
    assert _pass_on("cuda", 8, 512) == 128, "a task whose outputs are large asks for few"
    assert _pass_on("cuda", 256, 2**16) == 256
    assert _pass_on("cuda", 256, 2**15) == 512


def test_whoever_scores_has_as_many_inputs_a_pass_as_the_device_takes(monkeypatch):
    layer = Plain()
    model, task = numbered_model(layer), Toy()
    task.evaluation_batch = 2
    monkeypatch.setattr(evaluate_module, "_pass_on", lambda device, batch, numbers: 3 * batch)
    evaluate_task(model, task, numbered(7))
    mean_loss(model, task, numbered(7))
    assert [len(x_BTD) for x_BTD in layer.seen] == [6, 1, 6, 1]
