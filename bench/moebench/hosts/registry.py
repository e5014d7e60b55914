"""Hosts by name or by file: their settings, and the shapes of the layers that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from moebench.errors import PluginError, SuiteError
from moebench.hosts.settings import HostSettings
from moebench.plugins import named
from moebench.plugins.find import HOSTS
from moebench.tasks import TaskInfo

if TYPE_CHECKING:
    from moebench.contract import LayerShape


@cache
def host_kind(name: str) -> type[HostSettings]:
    """The settings of the host of a name, or of ``path.py:Name``.

    :class:`UnknownNameError` where there is none, :class:`PluginError` where it is no host.
    """
    kind = named.load(HOSTS, name, instance=False)
    if not (isinstance(kind, type) and issubclass(kind, HostSettings)):
        spec = named.spec_of(name) or name
        raise PluginError(
            f"host {spec}: it must be a subclass of moebench.hosts.HostSettings.", code="no-host", spec=spec
        )
    return kind


def host_settings(values: Mapping[str, Any]) -> HostSettings:
    """Validated settings; pydantic's ValidationError if they are wrong, other errors as of :func:`host_kind`."""
    return host_kind(str(values.get("name", ""))).model_validate(dict(values))


def layer_shapes(settings: HostSettings, task: TaskInfo) -> tuple[LayerShape, ...]:
    """The shapes of the layers that the host asks for on this task, in order; arithmetic only."""
    from moebench.contract import LayerShape

    gives, reads = task.inputs, settings.reads
    if not isinstance(gives, reads):
        raise SuiteError(
            f"the host '{named.without_digest(settings.name)}' reads {reads.words}; "
            f"task '{task.name}' gives {gives.words}.",
            code="other-inputs",
            task=task.name,
        )
    places = settings.places(task)
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
