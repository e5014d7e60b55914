"""For all tests."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def locks_of_its_own(tmp_path_factory):
    """Suites of one test process do not wait for the latency sessions of another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEBENCH_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        yield
