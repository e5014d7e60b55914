"""The variant under test, and how a check draws its settings and builds its layers and inputs."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from moebench.budgets import Budget, reachable, solve
from moebench.budgets.place import perturb, takes
from moebench.checks.compare import TOLERANCE, difference_at, same
from moebench.checks.outcome import CheckFailed, one_line
from moebench.contract import Choice, Dimension, Layer, LayerShape, Settings, Space, Variant
from moebench.contract.space import Value
from moebench.errors import BudgetError

DIM, TOKENS, BATCH, DEPTH = 16, 7, 4, 2
LADDER = (24_000, 48_000, 96_000)
"""Parameters of two layers. Small, yet large enough that one unit of width of 64 experts is within 1 %."""

NEAR = 0.25
"""How far, as a share of it, a layer may be from the budget of a check."""

KERNEL_PLACES = 9
"""A unit of width of a convolution of 3 x 3 places costs so many times as much as one of an MLP."""

SLOT = LayerShape(dim=DIM, out_dim=DIM, tokens=TOKENS, depth=DEPTH)
"""The standard slot of a check."""

MAP = dataclasses.replace(SLOT, tokens=12, grid=(3, 4))
"""The standard slot for a variant that takes nothing but maps."""


def slot_of(variant: Variant) -> LayerShape:
    """The slot that a variant is checked in."""
    return SLOT if takes(variant, SLOT) else MAP


def ladder(shape: LayerShape) -> tuple[int, ...]:
    """The budgets that a variant is checked at: :data:`LADDER`, or as many units of width of convolutions."""
    return tuple(amount * KERNEL_PLACES for amount in LADDER) if shape.kind == "map" else LADDER


class CheckTarget:
    """What a failure is about: a variant, or a layer of it that was built with some settings."""

    name: str
    words: str

    def failed(self, text: str) -> CheckFailed:
        """The failure to raise; ``text`` continues the name, ``words`` and a full stop continue ``text``."""
        sentence = f"{self.name} {text}{self.words}"
        return CheckFailed(sentence if sentence.endswith(".") else f"{sentence}.")

    def expect_same(self, got: Tensor, want: Tensor, text: str, tolerance: float = TOLERANCE) -> None:
        """Fail unless the two agree; where they differ most follows ``text``."""
        if not same(got, want, tolerance):
            raise self.failed(f"{text} {difference_at(got, want)}")

    @contextmanager
    def expect_no_error(self, text: str) -> Iterator[None]:
        """Fail where something is raised inside; what it is follows ``text``."""
        try:
            yield
        except Exception as error:
            raise CheckFailed(f"{self.name} {text}{self.words}: {one_line(error)}") from None


@dataclass(frozen=True)
class BuiltLayer(CheckTarget):
    """A layer of the variant ``name``; ``words`` names the settings that are not defaults: `` with experts=16``."""

    name: str
    layer: Layer
    settings: Settings
    words: str = ""


@dataclass
class CheckSubject(CheckTarget):
    """One variant in one kind of slot. ``notes`` collects what a check reports without failing.

    Spaces and sizes, once worked out, are kept in ``memory``, which the subjects of one variant share.
    """

    variant: Variant
    shape: LayerShape = SLOT
    notes: list[str] = field(default_factory=list)
    memory: dict[Any, Any] = field(default_factory=dict)
    words = ""

    def __post_init__(self) -> None:
        self.name = self.variant.name

    def note(self, text: str) -> None:
        """Report something that is no failure, once."""
        if text not in self.notes:
            self.notes.append(text)

    def in_shape(self, **changes: Any) -> CheckSubject:
        """The same variant in another slot."""
        return CheckSubject(self.variant, dataclasses.replace(self.shape, **changes), self.notes, self.memory)

    @property
    def one_token(self) -> dict[str, Any]:
        """What makes of its slot one for a single token."""
        return {"tokens": 1, "grid": None if self.shape.grid is None else (1, 1)}

    def amount(self, given: int | None) -> int:
        """A number of parameters; the lowest budget unless given."""
        return ladder(self.shape)[0] if given is None else given

    def budget(self, amount: int | None = None) -> Budget:
        """A budget of total parameters over all layers of the slot's host."""
        places = range(self.shape.depth)
        return Budget("total", self.amount(amount), tuple(dataclasses.replace(self.shape, index=i) for i in places))

    def space(self, amount: int | None = None) -> Space:
        """What of the variant's space can meet this budget."""
        key = ("space", self.shape, self.amount(amount))
        if key not in self.memory:
            self.memory[key] = reachable(lambda settings: self.fits(settings, amount), self.variant.space(self.shape))
        space: Space = self.memory[key]
        return space

    def defaults(self, amount: int | None = None) -> Settings:
        """The settings of trial 0."""
        return self.space(amount).defaults()

    def fits(self, settings: Settings, amount: int | None = None) -> bool:
        """Whether some size meets the budget."""
        try:
            self.sizes(settings, amount)
        except BudgetError:
            return False
        return True

    def sampled(self, count: int, *, seed: int = 0, amount: int | None = None) -> list[Settings]:
        """Settings sampled from its space that meet the budget: ``count``, less those that do not."""
        drawn = sample_settings(self.space(amount), count, seed)
        return [settings for settings in drawn if self.fits(settings, amount)]

    def sizes(self, settings: Settings, amount: int | None = None) -> tuple[int, ...]:
        """The size of each layer that comes nearest to the budget; :class:`BudgetError` if none is near. Checks are of
        small layers, in which one step of a size may be more than the 1 % of a suite.
        """
        key = ("sizes", self.shape, self.amount(amount), tuple(settings.items()))
        if key not in self.memory:
            self.memory[key] = solve(self.variant, self.budget(amount), settings, tolerance=NEAR).sizes
        sizes: tuple[int, ...] = self.memory[key]
        return sizes

    def build(self, settings: Settings | None = None, seed: int = 0, **changes: Any) -> Layer:
        """The first layer at the lowest budget, its weights drawn under ``seed``, in training mode.

        ``changes`` alter the slot and not the size, so that layers of several slots can be compared.
        """
        settings = self.defaults() if settings is None else settings
        size = self.sizes(settings)[0]
        torch.manual_seed(seed)
        return self.variant.layer(dataclasses.replace(self.shape, **changes), size, settings)

    def trials(self, samples: int = 3, *, perturbed: bool = True, **changes: Any) -> Iterator[BuiltLayer]:
        """Layers in eval mode: of the default settings, then of sampled ones, each different from the others.

        ``perturbed`` adds noise to the weights, so that nothing hides behind zeros it starts from.
        """
        tried: list[Settings] = []
        for settings in (self.defaults(), *self.sampled(samples, seed=1)):
            if settings not in tried:
                tried.append(settings)
                layer = self.build(settings, **changes).eval()
                layer = perturb(layer) if perturbed else layer
                yield BuiltLayer(self.name, layer, settings, self.changed(settings))

    def changed(self, settings: Settings, amount: int | None = None) -> str:
        """`` with experts=16``: the settings that are not defaults; empty if none."""
        defaults = self.defaults(amount)
        other = [f"{name}={value}" for name, value in settings.items() if defaults.get(name) != value]
        return f" with {', '.join(other)}" if other else ""

    def inputs(self, batch: int = BATCH, tokens: int | None = None, seed: int = 0) -> Tensor:
        """x_BTD, standard normal, drawn without touching the default generator."""
        generator = torch.Generator().manual_seed(1000 + seed)
        return torch.randn(batch, tokens or self.shape.tokens or TOKENS, self.shape.dim, generator=generator)


def sample_settings(space: Space, count: int, seed: int = 0) -> list[dict[str, Value]]:
    """``count`` settings; every option of a choice comes up before one comes up again."""
    draw = random.Random(seed)
    columns = {name: _column(dimension, count, draw) for name, dimension in space.items()}
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def _column(dimension: Dimension, count: int, draw: random.Random) -> list[Value]:
    if isinstance(dimension, Choice):
        rounds = math.ceil(count / len(dimension.options))
        return [option for _ in range(rounds) for option in draw.sample(dimension.options, len(dimension.options))]
    low, high = dimension.low, dimension.high
    if not dimension.log:
        return [draw.uniform(low, high) for _ in range(count)]
    drawn = (math.exp(draw.uniform(math.log(low), math.log(high))) for _ in range(count))
    return [min(high, max(low, value)) for value in drawn]
