"""The shares of the experts that specialization is measured at, as they end the names of scores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SHARES: Mapping[str, float] = MappingProxyType({"1_8": 1 / 8, "1_4": 1 / 4, "1_2": 1 / 2})


def in_words(key: str) -> str:
    """``1/8`` of ``1_8``."""
    return key.replace("_", "/")
