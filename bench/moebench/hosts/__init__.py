"""Hosts: the networks that the expert layers are put into, the same for every variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moebench.hosts.registry import host_kind, host_settings, layer_shapes
from moebench.hosts.settings import HostSettings, LayerPlace, image_of

if TYPE_CHECKING:
    from moebench.hosts.host import Host, Site

__all__ = ["Host", "HostSettings", "LayerPlace", "Site", "host_kind", "host_settings", "image_of", "layer_shapes"]


def __getattr__(name: str) -> Any:
    """The network's two names, imported when they are used: a plan is read without torch."""
    if name in ("Host", "Site"):
        from moebench.hosts import host

        return getattr(host, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
