"""Timing parts of a trained model inside one process, see :mod:`moebench.measures.clock`."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from moebench.hosts.host import Call, Host
from moebench.hosts.transformer import Seen, Transformer
from moebench.measures.clock import WARM_UP, Part, as_graph, repeat_to, timed
from moebench.measures.memory import PeakMemory, held_mib
from moebench.measures.serving import as_served
from moebench.tasks import Split
from moebench.text import told
from moebench.training.loop import Loss, auxiliary
from moebench.training.recipe import RANKED

TRAINS = "train_step_ms"
"""The part that changes weights."""


class Stopwatch:
    """The measured parts of one finalist, in milliseconds.

    batch: inputs of the forward pass and of the training step; the first so many of ``data``. loss: the task's. On CUDA
    passes are those of the model as it is served.
    """

    def __init__(self, model: Host, data: Split, loss: Loss, batch: int, precision: str, repeats: int) -> None:
        self._device = data.inputs.device
        self._repeats = repeats
        self._precision = precision
        self._loss, self._batch = loss, data.each(lambda tensor: repeat_to(tensor, batch))
        self._model = as_served(model.eval(), self._batch.inputs, precision)
        # A training step changes weights, so it has a copy of its own.
        self._trained = copy.deepcopy(model).train()
        parameters = [p for p in self._trained.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=RANKED.betas, fused=True)
        self._layer_inputs = self._inputs_of_layers()
        self._before = self._read_before()
        self._graphs: dict[str, Part] = {}
        self._no_graph = ""

    def parts(self) -> dict[str, Part]:
        """What is measured, by the name under which the record keeps it."""
        found: dict[str, Part] = {
            "forward_ms": lambda: self._forward(self._batch.inputs),
            "forward_batch1_ms": lambda: self._forward(self._batch.inputs[:1]),
            "layers_ms": self._layers,
            TRAINS: self._train_step,
        }
        return found | ({"token_ms": self._token} if self._before else {})

    def about(self) -> dict[str, str]:
        """On CUDA the type of the parameters that were served, and why there is no graph of a pass, if so."""
        if self._device.type != "cuda":
            return {}
        weights = {str(p.dtype).removeprefix("torch.") for p in self._model.parameters() if p.is_floating_point()}
        return {"parameters": ", ".join(sorted(weights))} | ({"no_graph": self._no_graph} if self._no_graph else {})

    def memory(self) -> dict[str, float | None]:
        """MiB by the name under which the record keeps them: by how much a forward pass grows memory at most, and that
        with the parameters and buffers, of the batch and of one input. None where the system does not report it.
        """
        self._forward(self._batch.inputs[:1])  # the libraries' own memory is no part of it
        grown = []
        for inputs in (self._batch.inputs, self._batch.inputs[:1]):
            with PeakMemory(self._device) as peak:
                self._forward(inputs)
            grown.append(peak.mib)
        held = held_mib(self._model)
        resident = [None if mib is None else held + mib for mib in grown]
        names = ("peak_memory_mib", "resident_memory_mib", "resident_memory_batch1_mib")
        return dict(zip(names, (grown[0], *resident), strict=True))

    def warm_up(self) -> None:
        """Call everything a few times before the first measurement; on CUDA passes become graphs, too."""
        for part in self.parts().values():
            for _ in range(WARM_UP):
                part()
        if self._device.type == "cuda":
            self._capture()

    def measure(self) -> dict[str, float]:
        """One round: each part; on CUDA, with ``_host`` and ``_graph`` before ``_ms``, how long the host is busy, and
        the same work as a graph.
        """
        found = {}
        for name, part in self.parts().items():
            took = timed(part, self._device, self._repeats)
            found[name] = took.ms
            if took.host_ms is not None:
                found[_named(name, "host")] = took.host_ms
            if name in self._graphs:
                found[_named(name, "graph")] = timed(self._graphs[name], self._device, self._repeats).ms
        return found

    def _capture(self) -> None:
        """Of a layer that reads values there is no graph."""
        for name, part in self.parts().items():
            if name != TRAINS and not self._no_graph:
                try:
                    self._graphs[name] = as_graph(part, self._device)
                except Exception as error:  # whatever another author's layer raises
                    self._no_graph = told(error)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bf16")

    def _forward(self, x: Tensor) -> None:
        with torch.inference_mode(), self._autocast():
            self._model.outputs(x)

    def _layers(self) -> None:
        with torch.inference_mode(), self._autocast():
            for layer, x_BTD in zip(self._model.layers(), self._layer_inputs, strict=True):
                layer(x_BTD)

    def _token(self) -> None:
        """The last token of one input in a causal transformer, with the keys and values of those before it."""
        assert isinstance(self._model, Transformer)
        with torch.inference_mode(), self._autocast():
            self._model.next_outputs(self._batch.inputs[:1, -1:], [replace(seen) for seen in self._before])

    def _train_step(self) -> None:
        """As the training loop does it; the weights of the auxiliary losses do not matter for its time."""
        call = Call()
        with self._autocast():
            loss = self._loss(self._trained.run(self._batch.inputs, call), self._batch)
        weights = {name: 0.01 for routing in call.routings for name in routing.losses}
        torch.autograd.backward(loss + auxiliary(call.routings, weights))
        assert RANKED.clip is not None
        nn.utils.clip_grad_norm_(self._trained.parameters(), RANKED.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        for layer in self._trained.layers():
            layer.after_step()

    def _read_before(self) -> list[Seen]:
        """What a causal transformer keeps of all tokens of one input but the last; empty in any other model."""
        if not isinstance(self._model, Transformer) or not self._model.causal:
            return []
        before = [Seen() for _ in self._model.blocks]
        with torch.inference_mode(), self._autocast():
            self._model.next_outputs(self._batch.inputs[:1, :-1], before)
        return before

    def _inputs_of_layers(self) -> list[Tensor]:
        call = Call(keep_inputs=True)
        with torch.inference_mode(), self._autocast():
            self._model.run(self._batch.inputs, call)
        return call.inputs


def _named(part: str, what: str) -> str:
    return f"{part.removesuffix('_ms')}_{what}_ms"
