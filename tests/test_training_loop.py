"""The training loop: what it does at each step, and that a seed decides all of it."""

import contextlib
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from hand_made import (
    QUICK_BUDGET,
    QUICK_HOST,
    SMALL_HOST,
    Built,
    Plain,
    digits,
    model_of,
    numbered,
    numbered_model,
    recipe,
    split,
    train,
)
from moebench.contract import Routing
from moebench.hosts import host_settings
from moebench.hosts.build import build_model
from moebench.hosts.host import Call
from moebench.records import Cell
from moebench.runner.train_cell import recipe as recipe_of
from moebench.tasks import get_task
from moebench.training.loop import auxiliary
from moebench.training.recipe import RANKED
from moebench.training.recipe import warm_cosine as schedule
from moebench.training.seeds import derive_seed


@contextlib.contextmanager
def each_step(look):
    """Calls look(optimizer) before every optimiser step."""
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: look(optimizer))
    try:
        yield
    finally:
        handle.remove()


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def plain_model(layers=2, loss_name="level", seed=0):
    host = host_settings({**SMALL_HOST, "depth": layers})
    variant = Built(make=lambda shape: Plain(loss_name))
    return build_model(host, get_task("digits").info, variant, (1,) * layers, {}, seed)


def numbers_seen(layer):
    """The numbers of the inputs that a layer met, in order."""
    return [int(x) for x_BTD in layer.seen for x in x_BTD[:, 0, 0]]


class Noisy(Plain):
    """Draws from the default generator in training, as dropout does."""

    def compute(self, x_BTD, routing, keep_BE=None):
        return x_BTD + torch.randn_like(x_BTD) if self.training else x_BTD


def trained_by_hand(model, data, how):
    """The loop as a person would write it down for one whole batch a step, seeds and losses included."""
    torch.manual_seed(how.seed + 2)
    generator = torch.Generator().manual_seed(how.seed + 3)
    vectors = {name for name, p in model.named_parameters() if p.ndim == 1 or ".b_" in name}
    named = dict(model.named_parameters())
    groups = [
        {"params": [p for name, p in named.items() if name not in vectors], "weight_decay": how.weight_decay},
        {"params": [p for name, p in named.items() if name in vectors], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    order = torch.cat([torch.randperm(len(data), generator=generator) for _ in range(how.steps)])
    losses = []
    for step in range(how.steps):
        picked = order[step * how.batch : (step + 1) * how.batch]
        output = model.train()(data.inputs[picked])
        loss = nn.functional.cross_entropy(output.outputs["class"], data.targets["class"][picked])
        extra = sum(routing.losses["balance"] for routing in output.routings) / len(output.routings)
        optimizer.zero_grad()
        (loss + how.loss_weights["balance"] * extra).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = how.lr * schedule(step, how.steps)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_the_loop_is_what_a_person_would_write():
    data, how = digits("train", 90), recipe(steps=12, weight_decay=0.1, loss_weights={"balance": 0.1})
    model, twin = model_of("sparse_topk", noise_std=1.0), model_of("sparse_topk", noise_std=1.0)
    assert train(model, data, how).loss_S == pytest.approx(trained_by_hand(twin, data, how), rel=1e-5)
    assert torch.allclose(weights(model), weights(twin), atol=1e-5)


@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk"])
def test_the_same_seed_gives_the_same_bits(name):
    data, runs = digits("train", 200), []
    for _ in range(2):
        model = model_of(name)
        curves = train(model, data, recipe(steps=8, loss_weights={"balance": 0.01}))
        runs.append((weights(model), curves))
    assert torch.equal(runs[0][0], runs[1][0])
    assert np.array_equal(runs[0][1].loss_S, runs[1][1].loss_S)
    assert np.array_equal(runs[0][1].mass_SLE, runs[1][1].mass_SLE)


def test_another_seed_changes_order_noise_and_result():
    data = numbered(32)
    orders, results = [], []
    for seed in (1, 2):
        layer = Plain()
        model = numbered_model(layer)
        train(model, data, recipe(steps=2, seed=seed))
        orders.append(numbers_seen(layer))
        results.append(weights(model))
    assert orders[0] != orders[1]
    assert not torch.equal(*results)


class Drawing(Plain):
    """Remembers what the default generator gives in training."""

    def compute(self, x_BTD, routing, keep_BE=None):
        self.drawn = torch.rand(4)
        return x_BTD


def drawn_in_training(seed, before):
    layer = Drawing()
    model = numbered_model(layer)
    torch.manual_seed(before)
    train(model, numbered(16), recipe(steps=1, seed=seed))
    return layer.drawn


def test_noise_follows_the_seed_and_not_what_was_drawn_before():
    assert torch.equal(drawn_in_training(seed=3, before=1), drawn_in_training(seed=3, before=2))
    assert not torch.equal(drawn_in_training(seed=3, before=1), drawn_in_training(seed=4, before=1))


def test_noise_does_not_repeat_the_draws_that_made_the_weights():
    drawn, seed = drawn_in_training(seed=3, before=0), 3
    for taken in (seed, seed + 1):  # of the host and of the layers
        torch.manual_seed(taken)
        assert not torch.equal(drawn, torch.rand(4))


def test_the_data_order_is_the_same_for_all_variants_whatever_they_draw():
    seen = []
    for layer in (Plain(), Noisy()):
        train(numbered_model(layer), numbered(40), recipe(steps=5))
        seen.append(numbers_seen(layer))
    assert seen[0] == seen[1]


def test_every_input_is_met_once_in_every_epoch():
    layer = Plain()
    train(numbered_model(layer), numbered(20), recipe(steps=10, batch=6))
    met = numbers_seen(layer)
    epochs = [met[start : start + 20] for start in (0, 20, 40)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert epochs[0] != epochs[1]
    assert epochs[0] != sorted(epochs[0])
    assert [len(x_BTD) for x_BTD in layer.seen] == [6] * 10


def test_a_batch_may_be_larger_than_the_data():
    layer = Plain()
    train(numbered_model(layer), numbered(4), recipe(steps=2, batch=10))
    assert sorted(numbers_seen(layer)) == sorted(list(range(4)) * 5)


@pytest.mark.parametrize("micro_batch", [None, 4, 5])
def test_an_auxiliary_loss_is_added_once_as_weight_times_the_mean_over_layers(micro_batch):
    """Counted twice, summed over layers or once per input, a level's gradient would not be 0.3 / 2."""
    model = plain_model(layers=2)
    seen = [_collect_gradient(layer.level) for layer in model.layers()]
    train(model, digits("train", 16), recipe(steps=1, micro_batch=micro_batch, loss_weights={"level": 0.3}))
    assert [sum(gradients) for gradients in seen] == pytest.approx([0.15, 0.15], rel=1e-5)


def _collect_gradient(parameter):
    """A list that each backward pass adds its gradient to, before clipping."""
    gradients = []
    parameter.register_hook(lambda gradient: gradients.append(float(gradient)))
    return gradients


def test_the_sum_of_auxiliary_losses_by_hand():
    def said(**losses):
        return Routing(losses={name: torch.tensor(value) for name, value in losses.items()})

    routings = [said(balance=1.0, z=10.0), said(balance=3.0), said()]
    assert float(auxiliary(routings, {"balance": 0.5, "z": 0.1})) == pytest.approx(0.5 * 2 + 0.1 * 10)
    assert auxiliary([said(balance=float("nan"))], {"balance": 0.0, "load": 1.0}) == 0
    assert auxiliary(routings, {}) == 0


def test_a_raw_loss_without_a_weight_is_not_added():
    model, gradients = plain_model(), []
    with each_step(lambda _: gradients.append(model.layers()[0].level.grad)):
        train(model, digits("train", 32), recipe(steps=1, loss_weights={"other": 1.0}))
    assert gradients == [None]


def test_the_weights_of_losses_are_the_settings_of_that_name():
    cell = Cell(
        kind="trial",
        protocol="1",
        task="digits",
        data_digest="",
        split="",
        host={},
        variant="sparse_topk",
        code_digest="",
        settings={"lr": 0.1, "weight_decay": 0.2, "experts": 8, "loss/balance": 0.03, "loss/z": 0.004},
        axis="total",
        budget=1,
        seed=9,
        steps=7,
        batch=6,
        micro_batch=5,
        precision="fp32",
        threads=1,
    )
    assert recipe_of(cell, get_task("cifar10")) == recipe(
        steps=7,
        batch=6,
        micro_batch=5,
        lr=0.1,
        weight_decay=0.2,
        loss_weights={"balance": 0.03, "z": 0.004},
        augment="crop-flip",
        seed=9,
    )


def summed_gradients(model, micro_batch):
    """Gradient of every parameter after one step's backward passes, as backward gave them."""
    total = {}

    def adder(name):
        def add(gradient):
            total[name] = total.get(name, 0) + gradient

        return add

    for name, parameter in model.named_parameters():
        parameter.register_hook(adder(name))
    curves = train(model, digits("train", 48), recipe(steps=1, batch=48, micro_batch=micro_batch))
    return total, curves


@pytest.mark.parametrize("micro_batch", [7, 16])
def test_micro_batches_give_the_gradient_and_curves_of_the_whole_batch(micro_batch):
    whole, curves = summed_gradients(model_of("soft_moe"), None)
    parts, of_parts = summed_gradients(model_of("soft_moe"), micro_batch)
    for name, gradient in whole.items():
        assert torch.allclose(gradient, parts[name], rtol=1e-4, atol=1e-7), name
    assert np.allclose(curves.loss_S, of_parts.loss_S)
    assert np.allclose(curves.mass_SLE, of_parts.mass_SLE)


@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk"])
def test_biases_norms_and_stacked_biases_do_not_decay(name):
    """With lr x weight decay = 1 one step leaves nothing of what decays but Adam's step of lr."""
    model = model_of(name, host=QUICK_HOST, budget=QUICK_BUDGET)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
    train(model, digits("train", 16), recipe(steps=1, weight_decay=1000.0))
    kept = {n for n, parameter in model.named_parameters() if parameter.abs().min() > 0.9}
    gone = {n for n, parameter in model.named_parameters() if parameter.abs().max() < 0.1}
    assert kept | gone == {n for n, _ in model.named_parameters()}
    is_vector = {n for n in kept | gone if "norm" in n or n.endswith("bias") or ".b_" in n or n.endswith("scale")}
    assert kept == is_vector
    assert gone


def test_the_schedule_warms_up_and_falls_to_zero():
    steps = [schedule(step, 100) for step in range(100)]
    assert steps[:11] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0])
    assert steps[55] == pytest.approx(0.5)
    assert steps[10:] == sorted(steps[10:], reverse=True)
    assert 0 < steps[99] < 1e-3
    assert schedule(0, 1) == 1
    assert [schedule(step, 2) for step in range(2)] == [1, 1]


def test_adam_as_the_paper_has_it_is_constant_and_unclipped():
    """arXiv 2409.00879: Adam at 1e-3, nothing else."""
    data, seen = digits("train", 64), []
    own, bare = plain_model(), plain_model()

    def look(optimizer):
        seen.append([(group["lr"], group["betas"], group["weight_decay"]) for group in optimizer.param_groups])

    steps, batch, lr, seed = 5, 16, 0.02, 3
    with each_step(look):
        how = recipe(steps=steps, batch=batch, lr=lr, seed=seed, weight_decay=0.0, optimiser="adam")
        train(own, split(data.inputs * 50, data.targets["class"]), how)
    assert seen == [[(lr, (0.9, 0.999), 0.0)] * 2] * steps
    adam = torch.optim.Adam(bare.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed + 3)
    order = torch.cat([torch.randperm(64, generator=generator) for _ in range(2)])
    for picked in torch.split(order[: steps * batch], batch):
        nn.functional.cross_entropy(
            bare.run(data.inputs[picked] * 50, Call())["class"], data.targets["class"][picked]
        ).backward()
        adam.step()
        adam.zero_grad()
    for one, other in zip(own.parameters(), bare.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_the_gradient_of_all_parameters_together_is_clipped():
    model, norms = model_of("dense"), []
    data = digits("train", 64)

    def look(optimizer):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(nn.utils.get_total_norm(gradients)))

    with each_step(look):
        train(model, split(data.inputs * 50, data.targets["class"]), recipe(steps=3))
    assert norms == pytest.approx([RANKED.clip] * 3, rel=1e-3)


def test_after_step_comes_once_an_optimiser_step_and_after_it():
    model, levels = plain_model().eval(), []
    layers = model.layers()
    with each_step(lambda _: levels.append(float(layers[0].level.detach()))):
        train(model, digits("train", 64), recipe(steps=3, micro_batch=4, loss_weights={"level": 1.0}))
    assert [len(layer.after_steps) for layer in layers] == [3, 3]
    assert len(layers[0].seen) == 12
    assert layers[0].after_steps[:2] == levels[1:]
    assert layers[0].after_steps[0] != levels[0]
    assert all(layers[0].modes)
    assert not model.training


@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk"])
def test_a_run_that_diverges_is_seen_and_stopped(name):
    model = model_of(name)
    curves = train(model, digits("train", 64), recipe(steps=120, batch=4, lr=1e9, weight_decay=0.05))
    assert not curves.finite
    assert len(curves.loss_S) == len(curves.mass_SLE) == 50
    assert not model.training


@pytest.mark.parametrize(("name", "shape"), [("dense", (5, 2, 0)), ("soft_moe", (5, 2, 8)), ("sparse_topk", (5, 2, 8))])
def test_curves_have_a_row_a_step_and_the_mass_of_the_whole_batch(name, shape):
    curves = train(model_of(name), digits("train", 64), recipe(steps=5, batch=16, micro_batch=6))
    assert curves.loss_S.shape == shape[:1]
    assert curves.mass_SLE.shape == shape
    assert curves.loss_S.dtype == curves.mass_SLE.dtype == np.float32
    assert curves.loss_S[0] == pytest.approx(np.log(10), abs=0.5)
    if shape[2]:  # 4 tokens of 16 inputs, each of mass 1
        assert np.allclose(curves.mass_SLE.sum(2), 64)


@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk"])
def test_bf16_autocast_stays_finite_and_near_fp32(name):
    losses = {
        precision: train(model_of(name), digits("train", 64), recipe(steps=6, precision=precision)).loss_S
        for precision in ("fp32", "bf16")
    }
    assert np.isfinite(losses["bf16"]).all()
    assert not np.array_equal(losses["bf16"], losses["fp32"])
    assert np.allclose(losses["bf16"], losses["fp32"], rtol=0.02)


def test_weights_stay_in_fp32_under_bf16():
    model = model_of("soft_moe")
    train(model, digits("train", 64), recipe(steps=2, precision="bf16"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_augmentation_changes_the_images_and_repeats_with_the_seed():
    losses = [
        train(model_of("dense"), digits("train", 64), recipe(steps=3, augment=augment, seed=seed)).loss_S
        for augment, seed in (("crop-flip", 1), ("crop-flip", 1), (None, 1))
    ]
    assert np.array_equal(losses[0], losses[1])
    assert not np.array_equal(losses[0], losses[2])


def test_a_frozen_parameter_stays_as_it_is():
    model = model_of("soft_moe")
    frozen = model.layers()[0].router
    before = [parameter.requires_grad_(False).clone() for parameter in frozen.parameters()]
    train(model, digits("train", 32), recipe(weight_decay=0.1))
    assert all(map(torch.equal, before, frozen.parameters()))


def test_training_leaves_numpys_and_pythons_random_numbers_alone():
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    train(plain_model(), digits("train", 16), recipe(steps=2))
    assert (random.random(), np.random.random()) == expected


def test_seeds_differ_by_task_kind_and_index_and_are_fixed():
    seeds = [derive_seed(task, kind, i) for task in ("a", "b") for kind in ("trial", "final") for i in range(50)]
    assert len(set(seeds)) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed("digits", "final", 0) == 1402181938  # records are found again by it
