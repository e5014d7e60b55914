"""The hosts by name: their settings, the shapes of the layers they ask for, and how to build them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moebench.errors import SuiteError, UnknownNameError
from moebench.hosts.settings import (
    BareSettings,
    DecoderSettings,
    HostSettings,
    ResNetSettings,
    SingleLayerSettings,
    TokenSumSettings,
    ViTSettings,
)
from moebench.tasks import TaskInfo

if TYPE_CHECKING:
    from moebench.contract import LayerShape

HOSTS: Mapping[str, type[HostSettings]] = {
    "single_layer": SingleLayerSettings,
    "vit": ViTSettings,
    "resnet": ResNetSettings,
    "decoder": DecoderSettings,
    "token_sum": TokenSumSettings,
    "bare": BareSettings,
}


def host_settings(values: Mapping[str, Any]) -> HostSettings:
    """Validated settings; :class:`UnknownNameError` or pydantic's ValidationError if they are wrong."""
    name = str(values.get("name", ""))
    if name not in HOSTS:
        raise UnknownNameError("host", name, HOSTS)
    return HOSTS[name].model_validate(dict(values))


def layer_shapes(settings: HostSettings, task: TaskInfo) -> tuple[LayerShape, ...]:
    """The shapes of the layers that the host asks for on this task, in order; arithmetic only."""
    from moebench.contract import LayerShape

    gives = "numbers" if task.text is None else "token ids"
    if gives != settings.reads:
        raise SuiteError(f"the host '{settings.name}' reads {settings.reads}; task '{task.name}' gives {gives}.")
    places = _places(settings, task)
    return tuple(
        LayerShape(
            dim=place.dim,
            out_dim=place.dim,
            tokens=place.tokens,
            grid=place.grid,
            activation=settings.activation,
            bias=settings.bias,
            causal=settings.causal,
            index=index,
            depth=len(places),
        )
        for index, place in enumerate(places)
    )


@dataclass(frozen=True)
class _Place:
    """Where a layer stands: D, T, and the grid of a map."""

    dim: int
    tokens: int
    grid: tuple[int, int] | None = None


def _places(settings: HostSettings, task: TaskInfo) -> list[_Place]:
    """The place of each layer, in the order of the forward pass."""
    channels, height, width = task.image
    if isinstance(settings, ViTSettings):
        _divides(settings.patch, "patch", task)
        tokens = (height // settings.patch) * (width // settings.patch)
        return [_Place(settings.dim, tokens)] * len(settings.replaced)
    if isinstance(settings, ResNetSettings):
        grids = {index: settings.grid(index, (height, width)) for index in settings.replaced}
        return [_Place(settings.channels_of(index), grid[0] * grid[1], grid) for index, grid in grids.items()]
    if isinstance(settings, DecoderSettings):
        return [_Place(settings.dim, width)] * settings.depth
    if isinstance(settings, BareSettings):
        if channels != 1:
            raise SuiteError(f"the host 'bare' takes one channel of tokens; task '{task.name}' has {channels}.")
        return [_Place(width, height)]
    if isinstance(settings, TokenSumSettings):
        entries = channels * height * width
        if task.classes != 1 or entries % settings.tokens:
            raise SuiteError(
                f"the host 'token_sum' gives one number from {settings.tokens} equal tokens; task '{task.name}' has "
                f"{entries} entries and asks for {task.classes}."
            )
        return [_Place(entries // settings.tokens, settings.tokens)]
    assert isinstance(settings, SingleLayerSettings)
    _divides(settings.grid, "grid", task)
    return [_Place(channels * (height // settings.grid) * (width // settings.grid), settings.grid**2)]


def _divides(number: int, what: str, task: TaskInfo) -> None:
    _, height, width = task.image
    if height % number or width % number:
        raise SuiteError(f"{what} {number} does not divide the {height} x {width} images of task '{task.name}'.")
