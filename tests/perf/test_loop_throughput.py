"""What the training loop costs beside a bare one, written by hand, on the same model and data.

Both run in turns in one process on one thread, and their processor time is compared, so that other work on the
machine does not count.
"""

import math
import statistics
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from moebench.budgets import Budget, solve
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.tasks import get_task
from moebench.training.loop import Recipe, train

ALLOWED = 1.03
PAIRS = 31  # of few steps each, so that both of a pair meet the same machine
STEPS = 12
BATCH = 64
LR = 3e-3


def quick_model(name):
    task, host, variant = get_task("digits").info, host_settings({"name": "vit"}), load_variant(find_variant(name))
    budget = Budget("total", 264_000, layer_shapes(host, task))
    settings = variant.space(budget.shapes[0], budget).defaults()
    return build_model(host, task, variant, solve(variant, budget, settings).sizes, settings, seed=0)


def bare_loop(model, data):
    """AdamW, warm-up and cosine, clipping; no curves, no auxiliary losses, no micro-batches."""
    vectors = {n for n, p in model.named_parameters() if p.ndim == 1 or ".b_" in n}
    groups = [
        {"params": [p for n, p in model.named_parameters() if n not in vectors], "weight_decay": 0.05},
        {"params": [p for n, p in model.named_parameters() if n in vectors], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), fused=True)
    order = torch.randperm(len(data.targets))[: STEPS * BATCH]
    model.train()
    for step, picked in enumerate(torch.split(order, BATCH)):
        cold = 0.5 * (1 + math.cos(math.pi * (step - 1) / (STEPS - 1)))
        for group in optimizer.param_groups:
            group["lr"] = LR * (cold if step else 1.0)
        loss = F.cross_entropy(model.logits(data.inputs[picked]), data.targets[picked])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def own_loop(model, data):
    train(
        model,
        data,
        Recipe(
            steps=STEPS,
            batch=BATCH,
            micro_batch=None,
            lr=LR,
            weight_decay=0.05,
            loss_weights={},
            precision="fp32",
            augment=None,
            seed=0,
        ),
    )


def seconds(loop, model, data):
    start = time.process_time()
    loop(model, data)
    return time.process_time() - start


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["dense", "soft_moe"])
def test_the_loop_is_within_three_percent_of_a_bare_one(name, record_property):
    model, data = quick_model(name), get_task("digits").load("train")
    loops = (own_loop, bare_loop)
    for loop in loops:
        loop(model, data)
    ratios = []
    for pair in range(PAIRS):
        times = {loop: seconds(loop, model, data) for loop in (loops if pair % 2 else loops[::-1])}
        ratios.append(times[own_loop] / times[bare_loop])
    ratio = statistics.median(ratios)
    record_property("ratio", round(ratio, 4))
    print(f"{name}: {ratio:.4f} (quartiles {', '.join(f'{q:.3f}' for q in statistics.quantiles(ratios))})")
    assert ratio <= ALLOWED
