"""The same training by one process and by two that share every batch, real ones with gloo between them."""

import torch
from torch import distributed as dist

from hand_made import digits, model_of, recipe, train
from moebench.processes import start
from moebench.training.ranks.shared import joined
from moebench.training.ranks.world import ALONE

DRAWN = {"top_k": 2, "noise_std": 1.0}
LOSSES = {"loss/balance": 0.1, "loss/importance": 0.05, "loss/load": 0.05, "loss/z": 0.01}
V_MOE = {**DRAWN, "renormalise": False, "capacity": 1.05, "batch_priority": True}
SWITCH = {"top_k": 1, "renormalise": False, "capacity": 1.25, "loss/balance": 0.1}

CASES = {
    "dense": ("dense", {}, {}),
    "soft_moe": ("soft_moe", {}, {}),
    "soft_moe normalised": ("soft_moe", {"normalise": True, "slots_from_normalised_tokens": True}, {}),
    "sparse_topk": ("sparse_topk", {"loss/balance": 0.1}, {}),
    "four losses, noise, capacity by priority": ("sparse_topk", {**V_MOE, **LOSSES}, {}),
    "switch": ("sparse_topk", SWITCH, {}),
    "random_router": ("random_router", {}, {}),
    "expert_choice": ("expert_choice", {}, {}),
    "deepseek": ("deepseek", {"bias_rate": 0.01}, {"steps": 12}),
    "topk_qb": ("topk_qb", {}, {}),
    "topk_qb in micro-batches": ("topk_qb", {}, {"micro_batch": 6, "batch": 16}),
    "cosine_topk": ("cosine_topk", {"loss/balance": 0.1}, {}),
    "hash_position": ("hash_position", {}, {}),
    "mu_moe_cp": ("mu_moe_cp", {}, {}),
    "mu_moe_tr": ("mu_moe_tr", {}, {}),
    "modse": ("modse", {**DRAWN, "loss/balance": 0.1}, {}),
    "smola": ("smola", {}, {}),
    "micro-batches": ("sparse_topk", {**DRAWN, "loss/balance": 0.1}, {"micro_batch": 6, "batch": 16}),
    "augmented": ("soft_moe", {}, {"augment": "crop-flip"}),
    "bf16": ("sparse_topk", {"loss/balance": 0.1}, {"precision": "bf16"}),
}


def outcome(name, world=ALONE):
    """Weights and buffers, curves, and the next number of the default generator, after some steps."""
    variant, settings, changes = CASES[name]
    model = model_of(variant, budget=40_000, **settings)
    weights = {key.removeprefix("loss/"): value for key, value in settings.items() if key.startswith("loss/")}
    curves = train(model, digits("train", 90), recipe(**{"steps": 8, "loss_weights": weights, **changes}), world=world)
    return {
        "state": {**dict(model.named_parameters()), **dict(model.named_buffers())},
        "loss_S": torch.from_numpy(curves.loss_S),
        "mass_SLE": torch.from_numpy(curves.mass_SLE),
        "drawn": torch.rand(3),
    }


def all_outcomes(world):
    """Of every case."""
    return {name: outcome(name, world) for name in CASES}


def by_two(folder, task, *args):
    """``task(world, *args)`` of both ranks: what each returned, or its exception."""
    processes = [start(_rank, folder, rank, task, args, log=folder / f"{rank}.log") for rank in (0, 1)]
    for process in processes:
        process.join(120)
        process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def _rank(folder, rank, task, args):
    torch.set_num_threads(1)
    with joined(torch.device("cpu"), dist.FileStore(str(folder / "store"), 2), rank, 2) as world:
        try:
            result = task(world, *args)
        except Exception as error:
            result = error
        torch.save(result, folder / f"{rank}.pt")
