"""Cost grows as the work grows: time and memory of a step against tokens, experts, and experts a token."""

from __future__ import annotations

import numpy as np
import peers
import pytest
import routing
import torch
from ledger import Point
from sizes import Size
from turns import forward_and_backward

from moebench.measures.clock import in_turns
from moebench.measures.memory import PeakMemory
from moevariants.sparse_topk import SparseTopK

BACKENDS = ("auto", "grouped", "padded")
BASE = Size(inputs=16, tokens=256, dim=192, experts=16, hidden=384, per_token=2)
SIZES = {
    "tokens": {256 * inputs: BASE._replace(inputs=inputs) for inputs in (4, 8, 16, 32, 64, 128)},
    "experts": {experts: BASE._replace(experts=experts) for experts in (4, 8, 16, 32, 64, 128, 256)},
    "K": {per_token: BASE._replace(per_token=per_token) for per_token in (1, 2, 4, 8)},
}
STEEPEST = 1.15
"""Slope of the logarithm of time, or memory, against that of tokens: 1 where it is linear."""


def layers_of(size: Size, device: torch.device, dtype: torch.dtype):
    """Each backend on the same layer, and the peers that have no limit on K or capacity; and what all are given."""
    generator = torch.Generator().manual_seed(0)
    weight_DE = routing.router_weight(size, generator)
    if size.experts > size.dim:  # more logits than features: those that come are as good
        x_BTD = torch.randn(size.inputs, size.tokens, size.dim, generator=generator)
    else:
        logits_NE = routing.wanted_logits("learned", size, generator)
        x_BTD = routing.tokens_for(logits_NE, weight_DE, size, generator)
    layers = {}
    for backend in BACKENDS:
        settings = {"experts": size.experts, "top_k": size.per_token, "renormalise": size.per_token > 1}
        layer = SparseTopK().layer(peers.layer_shape(size), size.hidden, settings)
        with torch.no_grad():
            layer.router.weight_DE.copy_(weight_DE)
        layer.experts.set_backend(backend)
        layers[f"sparse_topk, {backend}"] = layer.to(device)
    for name in ("Tutel", "Mixtral block", "dense, same active"):
        package, make = peers.SPARSE[name]
        if peers.why_absent(package, name, size) is None:
            layers[name] = make(size, weight_DE).to(device)
    return layers, x_BTD.to(device, dtype)


@pytest.mark.parametrize("axis", SIZES)
def test_cost_grows_as_the_work_does(axis, device, dtype, ledger, record_property):
    found: dict[str, list[tuple[int, float, float]]] = {}
    for at, size in SIZES[axis].items():
        layers, x_BTD = layers_of(size, device, dtype)
        works = {name: forward_and_backward(layer, x_BTD) for name, layer in layers.items()}
        for name, ms in in_turns(works, device, rounds=3, repeats=1).items():
            with PeakMemory(device) as peak:
                works[name]()
            ledger.add(Point(axis, at, name, ms, peak.mib))
            found.setdefault(name, []).append((at, ms.median, peak.mib or 0.0))
    at, ms, mib = np.array(found["sparse_topk, grouped"]).T
    slope = float(np.polyfit(np.log(at), np.log(ms), 1)[0])
    record_property("slope", slope)
    print(f"\n{axis}: " + "; ".join(f"{a:.0f} {t:.1f} ms {m:.0f} MiB" for a, t, m in zip(at, ms, mib, strict=True)))
    if axis == "tokens":
        assert slope <= STEEPEST
        # One tensor of N x E x C has K N^2 numbers: 8 GiB at 32k tokens, whatever E is.
        assert not mib.all() or np.polyfit(np.log(at), np.log(mib), 1)[0] <= STEEPEST
    if axis == "experts" and mib.all():
        # Gradients of parameters grow with E, and nothing else.
        gradients = 4 * 2 * BASE.dim * BASE.hidden * (at[-1] - at[0]) / 2**20
        assert mib[-1] - mib[0] <= 1.5 * gradients + 64
