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
from moebench.tasks import Features, Image, TaskInfo, Tokens, Vectors

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

    gives, reads = task.inputs, settings.reads
    if not isinstance(gives, reads):
        raise SuiteError(f"the host '{settings.name}' reads {reads.words}; task '{task.name}' gives {gives.words}.")
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
    inputs = task.inputs
    if isinstance(settings, DecoderSettings):
        assert isinstance(inputs, Tokens)
        return [_Place(settings.dim, inputs.length)] * settings.depth
    if isinstance(settings, BareSettings):
        assert isinstance(inputs, Vectors)
        if task.targets:
            raise SuiteError(f"the host 'bare' has no head; task '{task.name}' asks for {task.outputs} outputs.")
        return [_Place(inputs.dim, inputs.tokens)]
    if isinstance(settings, TokenSumSettings):
        assert isinstance(inputs, Features)
        if task.outputs != 1 or inputs.count % settings.tokens:
            raise SuiteError(
                f"the host 'token_sum' gives one number from {settings.tokens} equal tokens; task '{task.name}' has "
                f"{inputs.count} features and asks for {task.outputs}."
            )
        return [_Place(inputs.count // settings.tokens, settings.tokens)]
    assert isinstance(inputs, Image)
    height, width = inputs.height, inputs.width
    if isinstance(settings, ViTSettings):
        _divides(settings.patch, "patch", task.name, inputs)
        tokens = (height // settings.patch) * (width // settings.patch)
        return [_Place(settings.dim, tokens)] * len(settings.replaced)
    if isinstance(settings, ResNetSettings):
        grids = {index: settings.grid(index, (height, width)) for index in settings.replaced}
        return [_Place(settings.channels_of(index), grid[0] * grid[1], grid) for index, grid in grids.items()]
    assert isinstance(settings, SingleLayerSettings)
    _divides(settings.grid, "grid", task.name, inputs)
    return [_Place(inputs.channels * (height // settings.grid) * (width // settings.grid), settings.grid**2)]


def _divides(number: int, what: str, task: str, image: Image) -> None:
    if image.height % number or image.width % number:
        raise SuiteError(f"{what} {number} does not divide the {image.height} x {image.width} images of task '{task}'.")
