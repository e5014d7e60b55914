"""The device that layers are timed on, and where the page of their times goes."""

from pathlib import Path

import pytest
import torch
from ledger import Ledger

from moebench.errors import DeviceError
from moebench.processes import keep_freed_memory
from moebench.training.device import choose_device, default_precision, use

THREADS = 2


def pytest_configure(config):
    try:
        device = choose_device(config.getoption("--device"))
    except DeviceError as error:
        raise pytest.UsageError(str(error)) from None
    precision = config.getoption("--precision") or default_precision(device.type)
    use(device, precision)
    config.ledger = Ledger(device, precision, THREADS)


@pytest.fixture(scope="session")
def device(request):
    return request.config.ledger.device


@pytest.fixture(scope="session")
def dtype(request):
    """Of the inputs that layers are timed on; see ``turns``."""
    return torch.bfloat16 if request.config.ledger.precision == "bf16" else torch.float32


@pytest.fixture(scope="session")
def ledger(request):
    return request.config.ledger


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    yield
    torch.set_num_threads(before)


def pytest_sessionfinish(session):
    folder = session.config.getoption("--publish")
    if folder and (place := session.config.ledger.write(Path(folder))):
        print(f"\nwritten to {place}")
