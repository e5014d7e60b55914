"""Timing parts of a trained model inside one process: medians of a few repeats, each ended on the device."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.hosts.host import Call, Host
from moebench.tasks import Split
from moebench.training.loop import BETAS, CLIP, auxiliary

WARM_UP = 3


class Stopwatch:
    """The measured parts of one finalist: medians of ``repeats`` calls, in milliseconds.

    batch: inputs of the forward pass and of the training step; the first so many of ``data``.
    """

    def __init__(self, model: Host, data: Split, batch: int, precision: str, repeats: int) -> None:
        self._device = data.inputs.device
        self._repeats = repeats
        self._precision = precision
        self._model = model.eval()
        self._x, self._target = _repeat_to(data.inputs, batch), _repeat_to(data.targets, batch)
        # A training step changes weights, so it has a copy of its own.
        self._trained = copy.deepcopy(model).train()
        parameters = [p for p in self._trained.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=BETAS, fused=True)
        self._layer_inputs = self._inputs_of_layers()

    def parts(self) -> dict[str, Callable[[], None]]:
        """What is measured, by the name under which the record keeps it."""
        return {
            "forward_ms": lambda: self._forward(self._x),
            "forward_batch1_ms": lambda: self._forward(self._x[:1]),
            "layers_ms": self._layers,
            "train_step_ms": self._train_step,
        }

    def warm_up(self) -> None:
        """Call everything a few times before the first measurement."""
        for part in self.parts().values():
            for _ in range(WARM_UP):
                part()

    def measure(self) -> dict[str, float]:
        """One round: the median of each part."""
        return {name: self._median_ms(part) for name, part in self.parts().items()}

    def _median_ms(self, part: Callable[[], None]) -> float:
        times = []
        for _ in range(self._repeats):
            self._synchronise()
            start = time.perf_counter()
            part()
            self._synchronise()
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16")

    def _forward(self, x_NCHW: Tensor) -> None:
        with torch.inference_mode(), self._autocast():
            self._model.logits(x_NCHW)

    def _layers(self) -> None:
        with torch.inference_mode(), self._autocast():
            for layer, x_BTD in zip(self._model.layers(), self._layer_inputs, strict=True):
                layer(x_BTD)

    def _train_step(self) -> None:
        """As the training loop does it; the weights of the auxiliary losses do not matter for its time."""
        call = Call()
        with self._autocast():
            loss = F.cross_entropy(self._trained.run(self._x, call).float(), self._target)
        weights = {name: 0.01 for routing in call.routings for name in routing.losses}
        torch.autograd.backward(loss + auxiliary(call.routings, weights))
        nn.utils.clip_grad_norm_(self._trained.parameters(), CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        for layer in self._trained.layers():
            layer.after_step()

    def _inputs_of_layers(self) -> list[Tensor]:
        call = Call(keep_inputs=True)
        with torch.inference_mode(), self._autocast():
            self._model.run(self._x, call)
        return call.inputs


def _repeat_to(tensor: Tensor, count: int) -> Tensor:
    """The first ``count`` entries, from the beginning again where there are fewer."""
    return tensor[torch.arange(count, device=tensor.device) % len(tensor)]
