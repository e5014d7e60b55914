"""Where the table of what was measured goes, and the clusters that it is measured on."""

from pathlib import Path

import pytest
from measured import Measured

from clusters import ray_cluster, ray_environment, short, slurm

__all__ = ["ray_cluster", "ray_environment", "short", "slurm"]


@pytest.fixture(scope="session")
def measured(request):
    found = Measured()
    yield found
    if folder := request.config.getoption("--publish"):
        print(f"\nwritten to {found.write(Path(folder))}")
