"""Where a few fixed tokens go while a model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from moebench.hosts.host import Call, Host
from moebench.tasks import Split
from moebench.training.evaluate import asking, run_pass

INPUTS = 64
"""The first of the data, whose tokens are looked at."""

TOKENS = 1024
"""Of a layer, at most; evenly spaced among those of the inputs."""

WHEN: Mapping[str, float] = MappingProxyType({"1_8": 1 / 8, "1_4": 1 / 4, "1_2": 1 / 2})
"""Shares of the steps after which routes are kept, as they end the names of scores."""


class RouteWatch:
    """Which experts the watched tokens choose after each share of the steps in :data:`WHEN`.

    A look is a pass in evaluation mode that draws no random number of the training's. ``tensors``: by layer that
    chooses, chosen_WME, filled as training goes on; part of a checkpoint. Empty where no layer chooses.
    """

    def __init__(self, model: Host, data: Split, steps: int, precision: str = "fp32") -> None:
        self._model, self._data, self._precision = model, data[:INPUTS], precision
        self._at = [max(1, round(share * steps)) for share in WHEN.values()]
        self.tensors = {
            f"routes/{layer}": chosen_ME.new_zeros(len(WHEN), *chosen_ME.shape)
            for layer, chosen_ME in self.look().items()
        }

    def look(self) -> dict[int, Tensor]:
        """chosen_ME, boolean, of each layer that chooses, by its place."""
        found, call, device = dict[int, Tensor](), Call(), self._data.inputs.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), asking(self._model):
            run_pass(self._model, self._data, self._precision, call)
            for index, routing in enumerate(call.routings):
                if (count_BTE := routing.count_BTE) is not None:
                    chosen_ME = count_BTE.flatten(0, 1) > 0
                    kept = min(TOKENS, len(chosen_ME))
                    found[index] = chosen_ME[torch.arange(kept, device=device) * len(chosen_ME) // kept]
        return {index: chosen_ME.clone() for index, chosen_ME in found.items()}  # no inference tensors

    def after(self, step: int) -> None:
        """Look, if it is time."""
        places = [place for place, at in enumerate(self._at) if at == step]
        if places and self.tensors:
            for layer, chosen_ME in self.look().items():
                self.tensors[f"routes/{layer}"][places] = chosen_ME
