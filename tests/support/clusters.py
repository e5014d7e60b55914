"""Clusters on this machine as fixtures, one of each kind for all tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_world
from ray_world import RayCluster, environment
from slurm_world import Slurm


@pytest.fixture(scope="session")
def short() -> Iterator[Path]:
    """A folder whose name is short enough for the sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="moebench-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def ray_environment(short: Path) -> Iterator[None]:
    """What Ray reads once, when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(short).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def ray_cluster(short: Path, ray_environment: None) -> Iterator[RayCluster]:
    """A Ray of two nodes, which ``RAY_ADDRESS`` names."""
    pytest.importorskip("ray", reason="ray is not installed")
    if reason := slurm_world.no_root():
        pytest.skip(reason)
    folder = short / "ray"
    folder.mkdir()
    cluster = RayCluster(folder)
    with pytest.MonkeyPatch.context() as patch:
        try:
            cluster.start()
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def slurm(short: Path) -> Iterator[Slurm]:
    """A SLURM of one node, which ``SLURM_CONF`` names."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    if reason := slurm_world.missing():
        pytest.skip(reason)
    folder = short / "slurm"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        started = Slurm(folder)
        patch.setenv("SLURM_CONF", str(started.conf))
        try:
            started.start()
            yield started
        finally:
            started.stop()
