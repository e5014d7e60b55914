"""Hosts: the networks that the expert layers are put into, the same for every variant."""

from moebench.hosts.registry import host_kind, host_settings, layer_shapes
from moebench.hosts.settings import HostSettings, Place, image_of

__all__ = ["HostSettings", "Place", "host_kind", "host_settings", "image_of", "layer_shapes"]
