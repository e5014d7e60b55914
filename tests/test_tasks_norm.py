"""The norm task of arXiv 2409.00879, appendix C, its host, and how a number is learnt and scored."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from hand_made import Plain
from hand_made import train as train_on
from moebench.errors import SuiteError, UnknownNameError, UsageError
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.measures.scores.final import scores_of
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.tasks import Split, Stream, get_task
from moebench.tasks.norm import HELD_OUT, VARIANCE, draw
from moebench.training.recipe import Recipe

NORM = get_task("norm")
train = partial(train_on, loss=NORM.loss)


def host(**settings):
    return host_settings({"name": "token_sum", "tokens": 5, **settings})


def model(experts=2, seed=0, **settings):
    variant = load_variant(find_variant("soft_moe"))
    return build_model(host(**settings), NORM.info, variant, [20 // experts], {"experts": experts}, seed)


def recipe(**changes):
    given = {
        "steps": 30,
        "batch": 200,
        "micro_batch": None,
        "lr": 1e-2,
        "weight_decay": 0.0,
        "loss_weights": {},
        "precision": "fp32",
        "augment": None,
        "seed": 0,
        "optimiser": "adam",
    }
    return Recipe(**(given | changes))


def test_the_target_is_the_norm_of_ten_gaussian_entries():
    data = draw(20_000, torch.Generator().manual_seed(3))
    x_NX = data.inputs
    assert data.inputs.shape == (20_000, 10)
    assert float(x_NX.std()) == pytest.approx(5, rel=0.01)
    assert torch.allclose(data.targets["norm"], (x_NX**2).sum(1).sqrt())


def test_the_floor_is_the_error_of_the_best_constant():
    exact = 25 * (10 - 2 * (math.gamma(5.5) / math.gamma(5)) ** 2)
    assert pytest.approx(exact, abs=1e-6) == VARIANCE
    assert NORM.info.headline.floor == VARIANCE
    held_out = NORM.load("test")
    assert float(held_out.targets["norm"].double().var()) == pytest.approx(VARIANCE, rel=0.02)


def test_held_out_sets_are_fixed_and_different_and_training_is_a_stream():
    validation, test = NORM.load("validation"), NORM.load("test")
    assert len(test) == HELD_OUT
    assert torch.equal(test.inputs, NORM.load("test").inputs)
    assert not torch.equal(test.inputs, validation.inputs)
    assert isinstance(NORM.load("train"), Stream)
    with pytest.raises(UnknownNameError, match="unknown part 'valid' in task 'norm'"):
        NORM.load("valid")


def test_every_step_has_a_fresh_batch_and_the_seed_decides_which():
    seen = []

    def noting(count, generator):
        seen.append(draw(count, generator))
        return seen[-1]

    train(model(), Stream(noting), recipe(steps=3, batch=8, seed=4))
    train(model(), Stream(noting), recipe(steps=3, batch=8, seed=4))
    train(model(), Stream(noting), recipe(steps=3, batch=8, seed=5))
    batches = [each.inputs for each in seen]
    assert [len(batch) for batch in batches] == [8] * 9
    assert not torch.equal(batches[0], batches[1])
    assert all(torch.equal(one, other) for one, other in zip(batches[:3], batches[3:6], strict=True))
    assert not torch.equal(batches[0], batches[6])


def test_micro_batches_of_a_stream_add_up_to_the_batch():
    whole, parts = model(), model()
    train(whole, Stream(draw), recipe(steps=4))
    train(parts, Stream(draw), recipe(steps=4, micro_batch=60))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_it_learns():
    learner = model(experts=10)
    before = scores_of(learner, NORM, NORM.load("validation"), None, "fp32").values["validation_mse"]
    curves = train(learner, NORM.load("train"), recipe(steps=300, batch=500))
    scores = scores_of(learner, NORM, NORM.load("validation"), NORM.load("test"), "fp32").values
    assert scores["validation_mse"] < 0.5 * before
    assert scores["test_mse"] < 25
    assert curves.loss_S[-20:].mean() == pytest.approx(scores["test_mse"], rel=0.3)


def test_the_scores_are_mean_squares_beside_the_constants():
    class Zero(nn.Module):
        shows_groups = False

        def run(self, x, call):
            return {"norm": torch.zeros(len(x), 1)}

    data = Split(torch.zeros(2, 10), {"norm": torch.tensor([1.0, 3.0])})
    scores = scores_of(Zero(), NORM, data, None, "fp32").values
    assert scores == {"validation_mse": 5.0, "validation_constant_mse": 1.0}


@pytest.mark.parametrize("residual", [False, True])
def test_token_sum_is_the_fixed_sum_of_all_outputs(residual):
    whole = host(residual=residual).build(NORM.info)
    layer = Plain()
    whole.attach([layer])
    x_NF = torch.randn(3, 10)
    y_BTD = layer(x_NF.view(3, 5, 2))
    expected = y_BTD.sum((1, 2)) + (x_NF.sum(1) if residual else 0)
    assert torch.allclose(whole.outputs(x_NF)["norm"], expected.unsqueeze(1), atol=1e-5)
    assert [name for name, _ in whole.named_parameters() if "site" not in name] == []


@pytest.mark.parametrize(("tokens", "dim"), [(5, 2), (2, 5)])
def test_the_two_tokenisations(tokens, dim):
    (shape,) = layer_shapes(host(tokens=tokens), NORM.info)
    assert (shape.tokens, shape.dim, shape.out_dim, shape.activation, shape.bias) == (tokens, dim, dim, "relu", False)


def test_what_the_host_cannot_cut_or_answer_is_refused():
    with pytest.raises(SuiteError, match="gives one number from 3 equal tokens; task 'norm' has 10 features and asks"):
        layer_shapes(host(tokens=3), NORM.info)
    two = replace(NORM.info, targets={"norm": 1, "angle": 1})
    with pytest.raises(SuiteError, match="has 10 features and asks for 2"):
        layer_shapes(host(), two)


def test_noise_is_tokens_of_a_large_layer_and_nothing_to_learn():
    task = get_task("noise")
    (shape,) = layer_shapes(host_settings({"name": "bare"}), task.info)
    assert (shape.tokens, shape.dim, shape.activation, shape.bias) == (196, 768, "gelu", True)
    data = task.load("validation")
    assert data.inputs.shape == (100, 196, 768)
    assert task.digest() == "3f1ee0717e50062f9560"
    assert torch.equal(data.inputs, task.load("test").inputs)
    answered = replace(task.info, targets={"class": 10})
    with pytest.raises(SuiteError, match="the host 'bare' has no head; task 'noise' asks for 10 outputs"):
        layer_shapes(host_settings({"name": "bare"}), answered)
    for refused in (task.loss, task.scores):
        with pytest.raises(UsageError, match="task 'noise' has nothing to learn; it only times layers"):
            refused({}, data)


def test_the_bare_host_is_its_layer():
    whole, layer = host_settings({"name": "bare"}).build(get_task("noise").info), Plain()
    whole.attach([layer])
    x_NTD = torch.randn(2, 4, 6)
    assert torch.allclose(whole.outputs(x_NTD)["mean"], layer(x_NTD).mean(1))
