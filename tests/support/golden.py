"""Holds what determines results to the digits in ``golden.json``; run as a script it writes the file anew.

Each entry has a key and digits. The key of a built-in plug-in is its revision, that of the parts is ``REVISION``, that
of everything else is ``PROTOCOL``. The digits of an entry may change only together with its key: a test fails where
they do not, and the command refuses to write them. Code that moves, or is written otherwise and computes the same,
changes nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moebench.budgets.count import active_parameters
from moebench.budgets.flops import nominal_routing
from moebench.contract import Context, Layer, LayerShape
from moebench.hosts.host import restrict, rules_of
from moebench.measures.compression import Met, load_compressor
from moebench.measures.subset.scores import contribution_norms
from moebench.plugins.find import COMPRESSORS, Found, find_variant, find_variants
from moebench.plugins.identity import BUILT_IN, code_identity
from moebench.plugins.load import load_variant
from moebench.protocol import PROTOCOL

FILE = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-4
"""Relative: another processor or torch rounds otherwise, another computation differs by more."""

ADVICE = (
    "if it is meant, give the plug-in another `revision` (parts: REVISION in moevariants/parts; all else: PROTOCOL in "
    "bench/moebench/protocol.py), then run `python tests/support/golden.py`"
)

Digits = list[float]
Entry = dict[str, Any]


def read() -> dict[str, Entry]:
    """The file's content; empty where there is none."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def names() -> list[str]:
    """Every entry that the file must have."""
    return [*_makers()]


def present(name: str) -> Entry:
    """The key and the digits of an entry as the code gives them now."""
    key, make = _makers()[name]
    return {"key": key, "digits": [float(f"{value:.6g}") for value in make()]}


def _makers() -> dict[str, tuple[str, Callable[[], Digits]]]:
    from moevariants.parts import REVISION

    makers: dict[str, tuple[str, Callable[[], Digits]]] = {}
    for name, found in _built_in(find_variants()).items():
        for case, settings in CASES.get(name, {"": {}}).items():
            entry = " ".join(filter(None, ("variant", name, case)))
            makers[entry] = (code_identity(found), lambda name=name, settings=settings: variant_digits(name, settings))
    for name, found in _built_in(COMPRESSORS.installed()).items():
        makers[f"compressor {name}"] = (code_identity(found), lambda name=name: compressor_digits(name))
    makers["parts"] = (REVISION, part_digits)
    for name in RUNS:
        makers[f"run {name}"] = (PROTOCOL, lambda name=name: run_digits(name))
    makers["winners"] = (PROTOCOL, winner_digits)
    makers["board"] = (PROTOCOL, board_digits)
    return makers


def _built_in(found: Mapping[str, Found]) -> dict[str, Found]:
    return {name: each for name, each in found.items() if each.module.partition(".")[0] == BUILT_IN}


# Variants: outputs, gradients, three steps, masks and rules, at a tiny size.

CASES: dict[str, dict[str, dict[str, Any]]] = {
    "soft_moe": {
        "": {"experts": 4},
        "slots": {"experts": 4, "slots": 2, "normalise": True},
        "port": {"experts": 4, "normalise": True, "slots_from_normalised_tokens": True},
    },
    "sparse_topk": {
        "": {"experts": 4, "top_k": 2},
        "switch": {"experts": 4, "top_k": 1, "renormalise": False, "capacity": 1.25, "loss/balance": 0.01},
        "gshard": {"experts": 4, "top_k": 2, "renormalise": True, "capacity": 1.0, "loss/balance": 0.01, "loss/z": 0.1},
        "v_moe": {
            **{"experts": 4, "top_k": 2, "renormalise": False, "capacity": 1.05, "batch_priority": True},
            **{"noise_std": 1.0, "loss/balance": 0.0, "loss/importance": 0.005, "loss/load": 0.005},
        },
    },
    "random_router": {"": {"experts": 4}},
    "expert_choice": {"": {"experts": 4}, "half": {"experts": 4, "capacity": 0.5}},
    "deepseek": {"": {"experts": 8}, "two shared": {"experts": 8, "shared": 2, "top_k": 2, "bias_rate": 0.1}},
    "topk_qb": {"": {"experts": 4}, "switch": {"experts": 4, "top_k": 1}},
    "random_balanced": {"": {"experts": 4}},
    "random_balanced_detached": {"": {"experts": 4}},
    "remoe": {"": {"experts": 4, "loss/sparsity": 1.0}},
    "expert_threshold": {"": {"experts": 4, "top_k": 2}, "none shared": {"experts": 4, "top_k": 1, "shared": 0}},
    "peer": {"": {"heads": 2, "top_k": 3, "keys": 4}},
    "moe_pp": {"": {"experts": 4, "loss/balance": 0.01}, "switch": {"experts": 4, "top_k": 1, "constants": 1}},
    "lory": {"": {"experts": 4}, "short": {"experts": 4, "segment": 3}},
    "cosine_topk": {"": {"experts": 4}, "wide": {"experts": 4, "router_dim": 6}},
    "hash_position": {"": {"experts": 4}},
    "mu_moe_cp": {"": {"experts": 4}},
    "mu_moe_tr": {"": {"experts": 4, "wide": 2}},
    "modse": {"": {"experts": 4}, "noise": {"experts": 4, "noise_std": 1.0}},
    "smola": {"": {"experts": 4}, "rank 8": {"experts": 4, "slots": 2, "rank": 8}},
    "block_moe": {"": {"experts": 4}, "hard": {"experts": 4, "top_k": 2, "hard": 1.4, "memory": 2}},
    "mmoe": {"": {"experts": 4}},
    "ple": {"": {"own": 1, "shared": 2}, "two levels": {"own": 2, "shared": 1, "levels": 2}},
    "home": {
        "": {},
        "one expert": {"experts": 1, "rank": 3},
        "one level": {"hierarchy": False, "feature_gates": False},
        "no self gates": {"self_gates": False},
    },
    "conv_moe": {"": {"experts": 4, "loss/kl": 0.1}, "two": {"experts": 4, "top_k": 2, "loss/importance": 0.1}},
}
SIZE = 6
TOKENS = LayerShape(dim=8, out_dim=8, tokens=7)
PLAIN = LayerShape(dim=8, out_dim=8, tokens=7, activation="relu", bias=False)
VIEWED = LayerShape(dim=8, out_dim=8, tokens=2, activation="relu", views=("x/a", "x/b", "y/c"))
KNOW_VIEWS = ("mmoe", "ple", "home")
MAPS = LayerShape(dim=6, out_dim=6, tokens=12, grid=(3, 4), activation="relu")


def built(name: str, shape: LayerShape, settings: Mapping[str, Any]) -> Layer:
    """A layer from a seed of its own."""
    torch.manual_seed(1)
    return load_variant(find_variant(name)).layer(shape, SIZE, settings)


def variant_digits(name: str, settings: Mapping[str, Any]) -> Digits:
    """The digits of a variant in every slot that it takes."""
    takes = load_variant(find_variant(name)).hosts
    shapes = (TOKENS, PLAIN) if "tokens" in takes else (MAPS,)
    shapes += (VIEWED,) if name in KNOW_VIEWS else ()
    return [value for shape in shapes for value in layer_digits(built(name, shape, settings), shape, settings)]


def layer_digits(layer: Layer, shape: LayerShape, settings: Mapping[str, Any]) -> Digits:
    """What a layer gives in training, what its gradients are, where three steps lead, and what masks then do."""
    x_BTD = _drawn(3, (4, shape.tokens or 1, shape.dim))
    weights = {name.removeprefix("loss/"): value for name, value in settings.items() if name.startswith("loss/")}
    optimizer = torch.optim.AdamW([p for p in layer.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1)
    digits: Digits = [float(sum(p.numel() for p in layer.parameters())), float(active_parameters(layer))]
    layer.train()
    for step in range(3):
        torch.manual_seed(10 + step)
        routing = layer.route(x_BTD, Context())
        y_BTO = layer.compute(x_BTD, routing)
        losses = [routing.losses[loss] for loss, weight in sorted(weights.items()) if weight]
        loss = _marks(y_BTO)[0] + sum(losses, torch.zeros(()))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        digits += [float(each.detach()) for each in (loss, *losses, y_BTO.norm())]
        # In the order of size, so that a parameter may have another name or place.
        digits += sorted(float(p.grad.norm()) for p in layer.parameters() if p.grad is not None)
        optimizer.step()
        layer.after_step()
    layer.eval()
    with torch.no_grad():
        return digits + list(_asked(layer, x_BTD))


def _asked(layer: Layer, x_BTD: Tensor) -> Iterator[float]:
    """In evaluation: outputs, masses, and the same with half of the experts, under each rule."""
    routing = layer.route(x_BTD, Context())
    yield from _marks(layer.compute(x_BTD, routing)).tolist()
    if not layer.num_experts:
        return
    assert routing.mass_BE is not None
    yield from _marks(routing.mass_BE).tolist()
    keep_BE = torch.arange(layer.num_experts).expand(len(x_BTD), -1) % 2 == torch.arange(len(x_BTD))[:, None] % 2
    yield from _marks(layer.compute(x_BTD, routing, keep_BE)).tolist()
    for rule in rules_of(layer):
        restricted = restrict(layer, x_BTD, routing, keep_BE, rule)
        yield from _marks(layer.compute(x_BTD, restricted, keep_BE)).tolist()
    norms_BE = contribution_norms(layer, x_BTD, routing)
    assert norms_BE is not None
    yield float(norms_BE.sum())
    yield float(layer.compute(x_BTD, nominal_routing(layer, x_BTD)).norm())


def _marks(value: Tensor) -> Tensor:
    """Two numbers that change with any entry: a sum weighted by random numbers, and the norm."""
    return torch.stack([(value * _drawn(5, value.shape)).sum(), value.norm()])


def _drawn(seed: int, shape: Any) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def compressor_digits(name: str) -> Digits:
    """Of a trained-like layer of six experts made into one of three."""
    layer = built("sparse_topk", TOKENS, {"experts": 6, "top_k": 2}).eval()
    x_BTD = _drawn(3, (16, 7, 8))
    with torch.no_grad():
        met = Met(layer, x_BTD, layer.route(x_BTD, Context()))
        settings = {"rank": 2, "sparse": 0.2} if name == "merge_compress" else {}
        smaller = load_compressor(name).compress(
            met, 6 if name == "keep_all" else 3, settings, torch.Generator().manual_seed(4)
        )
        return [float(smaller.num_experts), *_asked(smaller.eval(), x_BTD)]


def part_digits() -> Digits:
    """What the parts give that other authors compose."""
    from moevariants.parts import Experts, LinearRouter, SoftRouter, SoftWeights, mix_all, soft_weights
    from moevariants.parts.gates import LOSSES, SigmoidGate, SoftmaxGate
    from moevariants.parts.sparse import Places, SparseLayer

    torch.manual_seed(1)
    gates = (
        SoftmaxGate(2, renormalise=True, noise_std=0.5, losses=LOSSES),
        SigmoidGate(4, 2, 0.1),
    )
    digits: Digits = []
    for gate, places in zip(gates, (Places(1.0, by_priority=True), Places()), strict=True):
        experts, shared = Experts(4, TOKENS, SIZE), Experts(1, TOKENS, SIZE)
        layer = SparseLayer(LinearRouter(8, 4), gate, experts, places, shared)
        digits += layer_digits(layer, TOKENS, {f"loss/{name}": 0.1 for name in getattr(gate, "losses", ())})
    experts, x_BTD = Experts(4, PLAIN, SIZE), _drawn(3, (4, 7, 8))
    weights = SoftWeights(*soft_weights(SoftRouter(8, 8, normalise=True)(x_BTD)))
    return digits + _marks(mix_all(experts, x_BTD, weights)).tolist()


# Runs: one of each kind of host and of each kind of task, from a cell to its record.

VIT = {"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 4}
SCORED = (
    "validation_loss_nats",
    "test_loss_nats",
    "load_entropy",
    "class_information",
    "max_violation",
    "output_cosine",
    "mass_kept_1_4",
)
"""Scores that do not jump where a rounding decides."""

LLAMA = {"norm": "rms", "positions": "rotary", "bias": False, "activation": "swiglu"}
RUNS: dict[str, dict[str, Any]] = {
    "vit soft_moe": {"host": VIT, "variant": "soft_moe", "settings": {"experts": 8}},
    "vit sparse_topk": {"host": VIT, "variant": "sparse_topk", "settings": {"experts": 8, "loss/balance": 0.01}},
    "vit learned": {"host": {**VIT, "positions": "learned"}, "variant": "dense"},
    "vit rotary": {"host": {**VIT, "positions": "rotary"}, "variant": "dense"},
    "single_layer": {
        "host": {"name": "single_layer", "grid": 2, "residual": True, "layer_norm": True},
        "variant": "soft_moe",
        "settings": {"experts": 8},
    },
    "resnet": {
        "host": {"name": "resnet", "channels": [8, 16], "blocks": [1, 2]},
        "variant": "conv_moe",
        "settings": {"experts": 4},
        "budget": 30_000,
    },
    "decoder phonebook": {
        "task": "phonebook_256",
        "host": {"name": "decoder", "dim": 16, "depth": 2, "heads": 2},
        "variant": "sparse_topk",
        "settings": {"experts": 8, "loss/balance": 0.01},
    },
    "decoder shortest path": {
        "task": "shortest_path",
        "host": {"name": "decoder", "dim": 16, "depth": 1, "heads": 2},
        "variant": "dense",
    },
    "decoder sincos": {
        "task": "phonebook_256",
        "host": {"name": "decoder", "dim": 16, "depth": 1, "heads": 2, "positions": "sincos"},
        "variant": "dense",
    },
    "decoder rotary": {
        "task": "phonebook_256",
        "host": {"name": "decoder", "dim": 16, "depth": 1, "heads": 2, "positions": "rotary"},
        "variant": "dense",
    },
    "decoder text": {
        "task": "text?window=16",
        "host": {"name": "decoder", "dim": 16, "depth": 1, "heads": 2, **LLAMA},
        "variant": "sparse_topk",
        "settings": {"experts": 4},
        "scored": ("validation_bits_per_byte", "validation_loss_nats", "test_bits_per_byte", "test_loss_nats"),
    },
    "encoder masked text": {
        "task": "text_masked?window=16",
        "host": {"name": "encoder", "dim": 16, "depth": 1, "heads": 2, **LLAMA},
        "variant": "soft_moe",
        "settings": {"experts": 4},
        "scored": ("validation_bits_per_masked_byte", "validation_loss_nats", "test_loss_nats"),
    },
    "tokenwise clusters": {
        "task": "clusters_near",
        "host": {"name": "tokenwise", "dim": 16, "depth": 1},
        "variant": "sparse_topk",
        "settings": {"experts": 4},
    },
    "tabular": {
        "task": "correlated?correlation=50",
        "host": {"name": "tabular", "dim": 16, "tower": 4},
        "variant": "mmoe",
        "settings": {"experts": 4},
        "scored": ("validation_mean_score", "validation_loss", "test_r2_first", "test_r2_second", "load_entropy"),
    },
    "token_sum": {
        "task": "norm",
        "host": {"name": "token_sum", "tokens": 5},
        "variant": "soft_moe",
        "settings": {"experts": 4},
        "budget": 408,
        "scored": ("validation_mse", "validation_constant_mse", "test_mse", "test_constant_mse"),
    },
}


def write_corpus(folder: Path) -> None:
    """Sixty files of words in an order that is the same everywhere."""
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "away", "again"]
    for file in range(60):
        text = " ".join(words[(file * step + step * step) % len(words)] for step in range(1, 200))
        (folder / f"{file:02}.txt").write_text(text, encoding="utf-8")


def run_digits(name: str) -> Digits:
    """The loss of every step and some scores of a tiny run; what the run does not score is 0."""
    from moebench.records import Cell, Store
    from moebench.runner.job import Job
    from moebench.runner.run_cell import run_cell
    from moebench.tasks import get_task
    from moebench.tasks.text import TextTask

    run = {"task": "digits", "settings": {}, "budget": 9_000, "scored": SCORED} | RUNS[name]
    task = get_task(run["task"])
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as texts:
        data = Path(texts) if isinstance(task, TextTask) else None
        write_corpus(Path(texts))
        cell = Cell(
            kind="final",
            protocol=PROTOCOL,
            task=run["task"],
            data_digest=task.digest(data),
            split=task.split,
            host=run["host"],
            variant=run["variant"],
            code_digest=code_identity(find_variant(run["variant"])),
            settings={**run["settings"], "lr": 3e-3, "weight_decay": 0.1},
            axis="total",
            budget=run["budget"],
            seed=7,
            steps=10,
            batch=24,
            micro_batch=10,
            precision="fp32",
            threads=1,
        )
        job = Job(
            cell=cell,
            row=name,
            spec=run["variant"],
            label=name,
            suite="golden",
            results=Path(folder),
            data=data,
            device="cpu",
            backend="loop",
            save_weights=False,
            ranked=False,
        )
        record = run_cell(job)
        if record.status != "done":
            raise RuntimeError(f"the golden run '{name}' ended as {record.status}: {record.reason}")
        loss_S = Store(Path(folder)).arrays(cell.identity)["loss_S"]
    return [*map(float, loss_S), *(float(record.scores.get(score) or 0) for score in run["scored"])]


# Decisions: what fixed records say.

STUDIES = (
    ((0.90, 0.10), (0.95, 0.20), (0.93, 0.05), (0.94, 0.07)),
    ((0.95, 0.20), (0.95, 0.10), (0.93, 0.05), (0.95, 0.10)),
    (None, (0.10, 2.30), None, (0.10, 2.20)),
    (None, None, None, None),
)
"""(validation accuracy, validation loss) of four trials; None for one that diverged."""


def winner_digits() -> Digits:
    """The trial that wins each of :data:`STUDIES`."""
    from boards import Bench

    winners = []
    for study in STUDIES:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), variants=["dense"])
            for cell, trial in zip(bench.group("dense").trial_cells, study, strict=True):
                if trial is None:
                    bench.put(cell, "dense", status="diverged")
                else:
                    scores = {"validation_accuracy": trial[0], "validation_loss_nats": trial[1]}
                    bench.put(cell, "dense", scores=scores)
            winners.append(float(bench.group("dense").winner(bench.store.get)))  # type: ignore[arg-type]
    return winners


def board_digits() -> Digits:
    """Every number on the board of fixed records, in the order of its JSON."""
    from boards import small_board
    from moebench.board import TEXTS

    with tempfile.TemporaryDirectory() as folder:
        return list(_numbers(json.loads(TEXTS["json"](small_board(Path(folder)).board()))))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, bool | int | float):
        yield float(value)
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from _numbers(value[key])
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each)


# The file.


def disagreement(stored: Digits, now: Digits) -> str:
    """The first number that differs by more than the tolerance; empty where none does."""
    if len(stored) != len(now):
        return f"{len(now)} numbers for {len(stored)}"
    pairs = zip(now, stored, strict=True)
    wrong = next((pair for pair in pairs if not np.isclose(*pair, rtol=TOLERANCE, atol=TOLERANCE / 10)), None)
    return "" if wrong is None else f"{wrong[0]} for {wrong[1]}"


def refusal(stored: Entry | None, now: Entry) -> str:
    """Why an entry may not be written, or nothing."""
    if stored is None or stored["key"] != now["key"]:
        return ""
    differ = disagreement(stored["digits"], now["digits"])
    return f"other digits ({differ}) under the same key '{now['key']}'" if differ else ""


def main() -> int:
    """Rewrite the file where that is right; 1 where it is not."""
    stored, now = read(), {name: present(name) for name in names()}
    refused = {name: why for name, entry in now.items() if (why := refusal(stored.get(name), entry))}
    for name, why in refused.items():
        print(f"{name}: {why}; {ADVICE}.", file=sys.stderr)
    if refused:
        return 1
    # What agrees stays as it is, so that another machine's rounding is no change.
    kept = {name: stored[name] if stored.get(name, {}).get("key") == now[name]["key"] else now[name] for name in now}
    lines = (f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in kept.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"wrote {FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
