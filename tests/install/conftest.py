"""Tests that install into an environment of their own; they need a package index or a filled cache."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "install: builds and installs into a fresh environment")
