"""Hosts by name or by file: their settings, and the shapes of the layers that they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from moebench.errors import MoebenchError, PluginError, SuiteError
from moebench.hosts.settings import DEEPEST, HostSettings, LayerPlace
from moebench.plugins import named
from moebench.plugins.find import HOSTS
from moebench.tasks import TaskInfo
from moebench.text import told

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
    kind = host_kind(str(values.get("name", "")))
    try:
        return kind.model_validate(dict(values))
    except (ValidationError, MoebenchError):
        raise
    except Exception as error:  # the host's author's
        raise PluginError(
            f"host {kind.__name__}: its settings cannot be checked ({told(error)}).",
            code="host-settings-broken",
            host=kind.__name__,
        ) from error


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
    places = _places(settings, task)
    return tuple(
        LayerShape(
            dim=place.dim,
            out_dim=place.dim,
            tokens=place.tokens,
            grid=place.grid,
            vocabulary=place.vocabulary,
            views=place.views,
            activation=settings.activation,
            bias=settings.bias,
            causal=settings.causal,
            index=index,
            depth=len(places),
        )
        for index, place in enumerate(places)
    )


def _places(settings: HostSettings, task: TaskInfo) -> Sequence[LayerPlace]:
    """What the host says; :class:`PluginError` where it raises, or a layer could not stand there."""
    who = f"host {type(settings).__name__}: its places()"
    try:
        places = settings.places(task)
    except MoebenchError:
        raise
    except Exception as error:  # the host's author's
        raise PluginError(f"{who} raised {told(error)}.", code="places-raised") from error
    if not (isinstance(places, Sequence) and places and all(isinstance(place, LayerPlace) for place in places)):
        raise PluginError(f"{who} gave {places!r:.60}, not a list of Place.", code="no-places")
    if len(places) > DEEPEST:
        raise PluginError(f"{who} gave {len(places):,} places; {DEEPEST:,} are the most.", code="too-many-places")
    if wrong := [place for place in places if place.dim < 1 or place.tokens < 1]:
        raise PluginError(f"{who} gave {wrong[0]}; dim and tokens must be at least 1.", code="impossible-place")
    return places
