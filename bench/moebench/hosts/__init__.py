"""Hosts: the networks that the expert layers are put into, the same for every variant."""

from moebench.hosts.registry import HOSTS, host_settings, layer_shapes

__all__ = ["HOSTS", "host_settings", "layer_shapes"]
