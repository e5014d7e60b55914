"""Methods that make a trained layer smaller: plug-ins of the entry-point group ``moebench.compressors``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Generator, Tensor

from moebench.contract import Layer, Routing, Settings
from moebench.errors import PluginError
from moebench.plugins.find import COMPRESSORS
from moebench.plugins.imports import load_object

Measure = TypeVar("Measure", bound=Callable[..., Any])


def rests_on(compressors: Callable[[Mapping[str, Any]], Sequence[str]]) -> Callable[[Measure], Measure]:
    """Decorates a measure that uses compressors: their names, of what it takes, whose code is then in its identity."""

    def mark(measure: Measure) -> Measure:
        vars(measure)["compressors"] = compressors
        return measure

    return mark


@dataclass(frozen=True)
class Met:
    """A trained layer with its tokens x_BTD on some inputs, in evaluation and in the type of its weights, and how it
    routed them.
    """

    layer: Layer
    x_BTD: Tensor
    routing: Routing

    @property
    def usage_E(self) -> Tensor:
        """Each expert's share of all choices that found room, in float64; they add up to 1.

        ValueError where tokens choose no experts, or none found room.
        """
        load_BE = self.routing.load_BE
        if load_BE is None:
            raise ValueError("its tokens do not choose experts, so no expert is used more than another")
        count_E = load_BE.sum(0).double()
        if not count_E.any():
            raise ValueError("none of its experts was used")
        return count_E / count_E.sum()


@runtime_checkable
class Compressor(Protocol):
    """Makes one trained layer into one with fewer, or smaller, experts.

    name: as its entry point's. compress: a new layer of exactly ``keep`` experts, the given one left as it is;
    the generator is for what is drawn. ValueError, in one sentence, where it cannot.
    """

    name: str

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> Layer:
        """The smaller layer."""
        ...


def load_compressor(name: str) -> Compressor:
    """The method of that name; :class:`UnknownNameError` or :class:`PluginError` if it cannot be had."""
    found = COMPRESSORS.find(name)
    compressor = load_object(found, "compressor")
    if not isinstance(compressor, Compressor) or (not found.in_file and compressor.name != name):
        raise PluginError(
            f"compressor {name}: it needs a method compress() and the name '{name}'.",
            code="not-a-compressor",
            compressor=name,
        )
    return compressor
