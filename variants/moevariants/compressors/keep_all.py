"""Nothing is left out: what recovery alone gives."""

from __future__ import annotations

import copy

from torch import Generator

from moebench.contract import Layer, Settings
from moebench.contract.variant import refuse_unknown
from moebench.measures.compression import Met


class KeepAll:
    """The layer as it is, a copy of it; ``keep`` is how many it has. No settings."""

    name = "keep_all"
    revision = "1975535cf84a07187e0d"

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> Layer:
        """All experts."""
        refuse_unknown(self.name, settings, ())
        if keep != met.layer.num_experts:
            raise ValueError(f"it keeps all {met.layer.num_experts} experts of a layer, not {keep}")
        return copy.deepcopy(met.layer)
