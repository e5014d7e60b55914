"""Suites: what is compared on what, as TOML, validated before anything runs. Imports no torch."""

from moebench.suites.load import find_suites, load_suite
from moebench.suites.schema import Reference, Suite, TaskEntry

__all__ = ["Reference", "Suite", "TaskEntry", "find_suites", "load_suite"]
