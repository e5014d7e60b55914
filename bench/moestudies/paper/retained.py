"""``python -m moestudies.paper.retained DIR``: what the selected eighth of the experts retains, one change at a time.

The single-layer model of ``paper-specialization`` on Fashion-MNIST or MNIST, which lie in DIR, with other pixels and
another start of Phi. docs/paper.md says what was found.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from moebench.budgets import Budget, settle
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.hosts.host import Host, Visit
from moebench.measures.subset.infer import ALL, Subset, subset_of
from moebench.measures.subset.select import keep_largest
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.tasks import Part, Split, get_task
from moebench.tasks.image_task import ImageTask
from moebench.training.loop import train
from moebench.training.recipe import Recipe

BUDGET, BATCH, LR, SHARE = 402_432, 256, 1e-3, 8
DRAWS = 2
"""Of random subsets."""

HEADER = "| one change | E | retained | by random experts | mass they hold | all experts |\n| --- |" + " ---: |" * 5

Pixels = Literal["standardised", "0 to 1", "-1 to 1", "0 to 255"]


@dataclass(frozen=True)
class Case:
    """One change. start: factor on the initial Phi, whose entries have a deviation of 1/sqrt(D). even: initial entries
    uniform in 0 to 1 instead. learned: whether Phi is trained. settings: of the layer.
    """

    name: str
    pixels: Pixels = "standardised"
    start: float = 1.0
    even: bool = False
    learned: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


CASES = (
    Case("as in paper-specialization"),
    Case("pixels 0 to 1", pixels="0 to 1"),
    Case("pixels -1 to 1", pixels="-1 to 1"),
    Case("pixels 0 to 255", pixels="0 to 255"),
    Case("Phi starts at 1/10", start=0.1),
    Case("Phi starts at 0", start=0.0),
    Case("pixels 0 to 1, Phi starts at 1/10", pixels="0 to 1", start=0.1),
    Case("pixels 0 to 1, Phi starts at N(0, 1)", pixels="0 to 1", start=14.0),
    Case("pixels 0 to 1, Phi starts uniform in 0 to 1", pixels="0 to 1", even=True),
    Case("Phi is not trained", learned=False),
    Case("pixels 0 to 1, Phi is not trained", pixels="0 to 1", learned=False),
    Case("normalising router", settings={"normalise": True}),
    Case(
        "pixels 0 to 1, normalising router, slots of normalised tokens",
        pixels="0 to 1",
        settings={"normalise": True, "slots_from_normalised_tokens": True},
    ),
)


@dataclass(frozen=True)
class Found:
    """Test accuracy with all experts, with the selected and with random eighths; mass: the share of the combine weights
    that the selected hold.
    """

    whole: float
    selected: float
    random: float
    mass: float

    @property
    def retained(self) -> float:
        """Selected over all."""
        return self.selected / self.whole

    @property
    def by_chance(self) -> float:
        """Random over all."""
        return self.random / self.whole


def images(task: ImageTask, part: Part, pixels: Pixels, data_dir: Path | None) -> Split:
    """One part, with its pixels on another scale."""
    split = task.load(part, data_dir)
    if pixels == "standardised":
        return split
    low, high = split.inputs.min(), split.inputs.max()  # of pixels 0 and 255, which every part has
    x_NCHW = (split.inputs - low) / (high - low)
    scaled = {"0 to 1": x_NCHW, "-1 to 1": 2 * x_NCHW - 1, "0 to 255": 255 * x_NCHW}
    return replace(split, inputs=scaled[pixels])


def measure(case: Case, experts: int, task: ImageTask, data_dir: Path | None, epochs: int, seed: int) -> Found:
    """Train one model and take the selected and random eighths of its experts."""
    host = host_settings({"name": "single_layer", "grid": 2})
    settings = {"experts": experts, "slots": 1, "normalise": False, **case.settings}
    variant = load_variant(find_variant("soft_moe"))
    size = settle(variant, Budget("total", BUDGET, layer_shapes(host, task.info)), settings).sizes
    model = build_model(host, task.info, variant, size, settings, seed)
    _start(model, case, seed)
    data = images(task, "train", case.pixels, data_dir)
    train(model, data, _recipe(epochs * len(data) // BATCH, seed), task.loss)
    test, k = images(task, "test", case.pixels, data_dir), experts // SHARE
    masses: list[Tensor] = []
    chosen = subset_of(model, k)

    def select(visit: Visit) -> Tensor | None:
        mass_BE = visit.routing.mass_BE
        assert mass_BE is not None
        masses.append((mass_BE * keep_largest(mass_BE, k)).sum(1) / mass_BE.sum(1))
        return chosen.select(visit) if chosen.select else None

    selected = Subset(select).score(model, task, test)
    drawn = [subset_of(model, k, score="random", seed=draw).score(model, task, test) for draw in range(DRAWS)]
    return Found(ALL.score(model, task, test), selected, sum(drawn) / DRAWS, float(torch.cat(masses).mean()))


@torch.no_grad()
def _start(model: Host, case: Case, seed: int) -> None:
    """Phi's initial entries, and whether they are trained."""
    (layer,) = model.layers()
    phi_DS = layer.get_parameter("router.phi_DS")
    if case.even:
        phi_DS.uniform_(generator=torch.Generator().manual_seed(seed))
    phi_DS.mul_(case.start).requires_grad_(case.learned)


def _recipe(steps: int, seed: int) -> Recipe:
    return Recipe(
        steps=steps,
        batch=BATCH,
        micro_batch=None,
        lr=LR,
        weight_decay=0.0,
        loss_weights={},
        precision="fp32",
        augment=None,
        seed=seed,
        optimiser="adam",
    )


def line(case: Case, experts: int, found: Sequence[Found]) -> str:
    """A row of a Markdown table: means over seeds."""
    numbers = [
        f"{sum(map(attrgetter(name), found)) / len(found):{form}}"
        for name, form in (("retained", ".1%"), ("by_chance", ".1%"), ("mass", ".0%"), ("whole", ".3f"))
    ]
    return f"| {case.name} | {experts} | {' | '.join(numbers)} |"


def main() -> None:
    """Read the command line and print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m moestudies.paper.retained", description=__doc__)
    parser.add_argument("data", type=Path, help="where the data set lies")
    parser.add_argument("--task", choices=("fashion_mnist", "mnist"), default="fashion_mnist")
    parser.add_argument("--experts", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)), help="their places in the table")
    asked = parser.parse_args()
    task = get_task(asked.task)
    assert isinstance(task, ImageTask)
    print(f"{task.info.label}, k = E/{SHARE}, epochs: {asked.epochs}, seeds: {asked.seeds}", HEADER, sep="\n\n")
    for place in asked.cases:
        for experts in asked.experts:
            of = (CASES[place], experts, task, asked.data, asked.epochs)
            print(line(CASES[place], experts, [measure(*of, seed) for seed in range(asked.seeds)]), flush=True)


if __name__ == "__main__":
    main()
