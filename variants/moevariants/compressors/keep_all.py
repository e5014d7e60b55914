"""Nothing is left out: what recovery alone gives."""

from __future__ import annotations

import copy

from torch import Generator

from moebench.contract import Layer, Met, Settings
from moevariants.parts.settings import Given


class KeepAll:
    """The layer as it is, a copy of it. No settings."""

    name = "keep_all"

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> Layer:
        """All experts, however many are to be kept."""
        Given(self.name, (), settings)
        return copy.deepcopy(met.layer)
