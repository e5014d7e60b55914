"""Clusters on this machine; and the same suite run by the local executor."""

from __future__ import annotations

import pytest
from cluster_suites import Reference, run_on, write_tiny

from clusters import ray_cluster, ray_environment, short, slurm
from moebench.experiment import ExperimentResult

__all__ = ["ray_cluster", "ray_environment", "short", "slurm"]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A suite with a row that works and one that crashes, run by the local executor."""
    folder = tmp_path_factory.mktemp("reference")
    suite, variants = write_tiny(folder)
    session: ExperimentResult = run_on("local", suite, folder / "results", variants=variants)
    return Reference(suite, variants, folder / "results", session.unfinished)
