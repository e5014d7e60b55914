"""What specialization is made of: the shares of the experts, as they end the names of scores, and when it is known."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SHARES: Mapping[str, float] = MappingProxyType({"1_8": 1 / 8, "1_4": 1 / 4, "1_2": 1 / 2})


LEAST_DEPENDENCE = 0.05
LEAST_STANDARD_ERRORS = 5.0
"""By how much accuracy must depend on the experts for their specialization to be a number, and how surely."""

NO_EXPERTS = "no experts"
"""The reason of a model whose layers show no routing."""

NOT_DEPENDENT = "the host does not depend on its experts"
"""How the reason begins of a model that is as good without them."""


def in_words(key: str) -> str:
    """``1/8`` of ``1_8``."""
    return key.replace("_", "/")
