"""For all tests: markers by folder, data sets, and locks of their own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

NOT_CORE = frozenset({"browser", "cluster", "faults", "gpu", "install", "perf", "scaling", "slow"})
"""Folders whose tests are marked with the folder's name; all other tests are the core."""

DATA_SETS = frozenset({"cifar10_dir", "fashion_mnist_dir"})
"""Fixtures that give the directory of a data set; a test that uses one is marked ``data``."""

LONGEST = (
    "checks/test_honest.py",
    "test_commands_executed.py",
    "test_cli.py",
    "test_examples.py",
    "test_training_distributed.py",
    "test_surroundings_of_processes.py",
    "test_length.py",
    "test_publish.py",
    "test_mlflow_fixed.py",
    "test_suite_runs.py",
    "test_apart.py",
    "test_plugins_named.py",
    "test_publish_site.py",
    "test_helpers_beside.py",
    "test_board_many.py",
    "test_board_files.py",
    "test_measures_audit.py",
    "test_publish_forgeries.py",
    "test_parrots_claims.py",
    "test_paper_report.py",
    "test_experiment.py",
    "test_measures_clock.py",
    "test_comparison_command.py",
    "test_mlflow_commands.py",
)
"""Files that take longest begin first, so that none is left for one process alone at the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of tests/perf and tests/scaling: where pytest collects all tests, it reads options only from here."""
    parser.addoption("--device", default="cpu", help="Where tests/perf times layers: cpu, cuda or cuda:N.")
    parser.addoption("--precision", help="In which tests/perf times layers: fp32 or bf16 (default: bf16 on CUDA).")
    parser.addoption("--publish", metavar="DIR", help="Write the page of what was measured below this directory.")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder and by the data sets that they need; the longest files first."""
    places = {HERE / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in NOT_CORE:
            item.add_marker(folder)
        if DATA_SETS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("data")


@pytest.fixture
def cifar10_dir() -> Path | None:
    """Where CIFAR-10 is, as ``Task.load`` takes it; the test is skipped where it is not."""
    return find_data("cifar10")


@pytest.fixture
def fashion_mnist_dir() -> Path | None:
    """Where Fashion-MNIST is, as ``Task.load`` takes it; the test is skipped where it is not."""
    return find_data("fashion_mnist")


def find_data(name: str) -> Path | None:
    """$MOEBENCH_TEST_DATA where it holds the data set, else None if moebench finds it by default; skips otherwise."""
    from moebench.errors import DataError
    from moebench.tasks import get_task

    named = os.environ.get("MOEBENCH_TEST_DATA")
    for folder in (Path(named), None) if named else (None,):
        with contextlib.suppress(DataError):
            get_task(name).fingerprint(folder)
            return folder
    pytest.skip(f"{get_task(name).info.label} is not on this machine; MOEBENCH_TEST_DATA names a directory that has it")


@pytest.fixture(scope="session", autouse=True)
def locks_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Suites of one test process do not wait for the latency sessions of another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEBENCH_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield
