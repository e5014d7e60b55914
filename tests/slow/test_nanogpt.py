"""nanoGPT's published figure: a character-level decoder on tinyshakespeare, trained on a CPU for 2,000 steps.

Its README (github.com/karpathy/nanoGPT, "I only have a macbook") gives 4 layers of 4 heads, width 128, windows of 64,
batches of 12, no dropout, and a validation loss of 1.88 nats a character. Its configuration gives the learning rate
1e-3, falling to 1e-4 by a cosine after 100 steps of warm-up, betas 0.9 and 0.99, weight decay 0.1, clipping at 1. Its
model has GELU, LayerNorm without bias, learned places, a tied head, and normal weights of deviation 0.02 at first. With
the initial weights of this host the loss is 1.834.
"""

import math
import os
from pathlib import Path

import pytest
import torch

from moebench.errors import DataError
from moebench.hosts import host_settings
from moebench.hosts.build import build_model
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.tasks import Split, Stream, get_task, load_part
from moebench.training.evaluate import evaluate_task
from moebench.training.loop import train
from moebench.training.recipe import OPTIMISERS, Optimiser, Recipe

PUBLISHED, WITHIN = 1.88, 0.05
STEPS, BATCH, WINDOW = 2000, 12, 64
HOST = {"name": "decoder", "dim": 128, "depth": 4, "heads": 4, "bias": False, "tied": True}
HIDDEN = 512


def schedule(step: int, steps: int) -> float:
    """Of nanoGPT's ``get_lr``, as a share of the rate."""
    if step < 100:
        return (step + 1) / 101
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - 100) / (steps - 100)))


def anywhere(text: Split) -> Stream:
    """Windows that begin at any character, as nanoGPT draws them."""
    ids_L = torch.cat([text.inputs.flatten(), text.targets["token"][-1, -1:]])

    def draw(count: int, generator: torch.Generator) -> Split:
        places_NT = torch.randint(len(ids_L) - WINDOW, (count, 1), generator=generator) + torch.arange(WINDOW)
        return Split(ids_L[places_NT], {"token": ids_L[places_NT + 1]})

    return Stream(draw)


def draw_as_nanogpt(model: torch.nn.Module) -> None:
    """Normal with a deviation of 0.02, less for what is added to the stream."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            added = name.endswith(("attention.out.weight", "linear_out.weight"))
            deviation = 0.02 / math.sqrt(2 * HOST["depth"]) if added else 0.02
            torch.nn.init.normal_(weight, 0, deviation, generator)


def test_the_dense_decoder_reaches_nanogpts_validation_loss(monkeypatch, record_property):
    task, named = get_task("shakespeare"), os.environ.get("MOEBENCH_TEST_DATA") or os.environ.get("MOEBENCH_DATA")
    folder = Path(named) if named else None
    try:
        task.fingerprint(folder)
    except DataError:
        pytest.skip("tinyshakespeare is not on this machine; MOEBENCH_TEST_DATA names a directory that has it")
    monkeypatch.setitem(OPTIMISERS, "nanogpt", Optimiser((0.9, 0.99), 1.0, schedule))
    model = build_model(
        host_settings(HOST), task.info, load_variant(find_variant("dense")), (HIDDEN,) * HOST["depth"], {}, seed=0
    )
    draw_as_nanogpt(model)
    recipe = Recipe(
        steps=STEPS,
        batch=BATCH,
        micro_batch=None,
        lr=1e-3,
        weight_decay=0.1,
        loss_weights={},
        precision="fp32",
        augment=None,
        seed=0,
        optimiser="nanogpt",
    )
    train(model, anywhere(load_part(task, "train", folder)), recipe, task.loss)
    # nanoGPT validates on the last tenth, which is validation and test here.
    held_out = [evaluate_task(model, task, load_part(task, part, folder)).values for part in ("validation", "test")]
    nats, tokens = (sum(float(each[name].sum()) for each in held_out) for name in ("loss_nats", "scored_tokens"))
    record_property("validation_loss", round(nats / tokens, 4))
    print(f"validation loss {nats / tokens:.4f} nats a character, published {PUBLISHED}")
    assert nats / tokens == pytest.approx(PUBLISHED, abs=WITHIN)
