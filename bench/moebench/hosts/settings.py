"""What a host is to a suite: its settings, the places of its layers, and how it is built.

A host is one file: a subclass of :class:`HostSettings` beside its network, a :class:`moebench.hosts.host.Host`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from moebench.errors import SuiteError
from moebench.tasks import Image, Inputs, TaskInfo

if TYPE_CHECKING:
    from moebench.hosts.host import Host

DEEPEST = 1000
"""Layers of a host, at most."""

LARGEST = 1_000_000
"""Any other number of a host, at most."""

Activation = Literal["gelu", "relu", "silu", "swiglu"]
Numbers = Annotated[tuple[StrictInt, ...], Field(strict=False)]
"""A list, in TOML and JSON."""


@dataclass(frozen=True)
class LayerPlace:
    """Where a layer stands: D, T, the grid of a map, the vocabulary of a text, and the views of several targets."""

    dim: int
    tokens: int
    grid: tuple[int, int] | None = None
    vocabulary: int | None = None
    views: tuple[str, ...] = ()


class HostSettings(BaseModel):
    """Fields that every host has. ``activation`` and ``bias`` are those of the expert layers.

    reads: the kind of input that it takes. causal: whether no output may depend on later tokens, so that only causal
    layers have a place in it.
    """

    reads: ClassVar[type[Inputs]] = Image
    causal: ClassVar[bool] = False

    # Strict: a number in quotes or a true where a number belongs is a mistake in the suite, not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    activation: Activation = "gelu"
    bias: bool = True

    @model_validator(mode="after")
    def _sane(self) -> HostSettings:
        """Before a plan makes a list of as many layers."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            most = DEEPEST if name == "depth" else LARGEST
            if any(isinstance(each, int) and each > most for each in (value if isinstance(value, tuple) else [value])):
                raise ValueError(f"{name} must be at most {most}")
        return self

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """The place of each layer, in the order of the forward pass; arithmetic only.

        ``task.inputs`` is of the kind that the host reads. :class:`SuiteError` where the task does not fit otherwise.
        """
        raise NotImplementedError

    def build(self, task: TaskInfo) -> Host:
        """The network with its places vacant."""
        raise NotImplementedError


def image_of(task: TaskInfo, cut: int = 1, what: str = "") -> Image:
    """The images of a task; :class:`SuiteError` where ``cut``, the setting of that name, does not divide them."""
    image = task.inputs
    assert isinstance(image, Image)  # what the host reads was checked before
    if image.height % cut or image.width % cut:
        raise SuiteError(
            f"{what} {cut} does not divide the {image.height} x {image.width} images of task '{task.name}'.",
            code="patches-do-not-divide",
            task=task.name,
        )
    return image
