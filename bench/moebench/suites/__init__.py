"""Suites: what is compared on what, as TOML, validated before anything runs. Imports no torch."""

from moebench.suites.load import Experiment, find_suites, load_experiment, load_suite
from moebench.suites.schema import Suite, TaskEntry

__all__ = ["Experiment", "Suite", "TaskEntry", "find_suites", "load_experiment", "load_suite"]
