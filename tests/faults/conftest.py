"""Real faults on a real suite, in a program of its own: what a person would start."""

import pytest
from fault_suites import Undisturbed, finished


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Undisturbed:
    """The suite run to its end with nothing in its way."""
    return finished(tmp_path_factory.mktemp("undisturbed"))
