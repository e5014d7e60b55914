"""Layers on devices other than the CPU: what they do there gives the CPU's numbers. The ways are forced on the CPU."""

import copy

import pytest
import torch

from elsewhere import OTHER, Elsewhere, backward
from moebench.budgets.place import takes
from moebench.checks.subject import slot_of
from moebench.contract import Context, LayerShape
from moebench.plugins.find import find_variant, find_variants
from moebench.plugins.load import load_variant
from moevariants.backends import auto, grouped, loop, padded
from moevariants.parts import Experts
from moevariants.sparse_topk import PRESETS

SETTINGS = [*((name, {}) for name in sorted(find_variants())), *(("sparse_topk", dict(s)) for s in PRESETS.values())]
BACKENDS = ["auto", "loop", "grouped", "padded"]
ROUNDING = {"rtol": 2e-5, "atol": 2e-6}


@pytest.fixture(autouse=True)
def grouped_serves(monkeypatch):
    """Its trial would need the device."""
    monkeypatch.setattr(grouped, "why_not", lambda device, dtype: None)


def build(name, settings, backend):
    variant = load_variant(find_variant(name))
    shape = slot_of(variant)
    assert takes(variant, shape)
    torch.manual_seed(0)
    layer = variant.layer(shape, 16, settings).train()
    for module in layer.modules():
        if hasattr(module, "set_backend"):
            module.set_backend(backend)
    return layer, torch.randn(4, shape.tokens, shape.dim)


def step(layer, x_BTD):
    """Outputs, gradients of inputs and parameters, and the buffers after the step."""
    torch.manual_seed(1)
    x_BTD = x_BTD.clone().requires_grad_()
    routing = layer.route(x_BTD, Context())
    y_BTO = layer.compute(x_BTD, routing)
    loss = (y_BTO * y_BTO.detach().cos()).sum() + sum(routing.losses.values())
    wanted = [x_BTD, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    backward(loss)
    grads = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in wanted]
    layer.after_step()
    return [y_BTO.detach(), *grads, *(buffer.clone() for buffer in layer.buffers())]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_a_step_gives_the_cpus_numbers(name, settings, backend):
    layer, x_BTD = build(name, settings, backend)
    elsewhere = copy.deepcopy(layer)
    wanted = step(layer, x_BTD)
    with Elsewhere():
        assert x_BTD.device == OTHER
        found = step(elsewhere, x_BTD)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **ROUNDING)


def test_more_experts_than_torch_takes_on_cuda_go_to_the_loop(monkeypatch):
    looped = []
    monkeypatch.setattr(grouped.loop, "run", lambda experts, *rest: looped.append(experts.count))
    for count in (grouped.MOST_GROUPS, grouped.MOST_GROUPS + 1):
        experts, rows_ND = Experts(count, LayerShape(dim=4, out_dim=4, tokens=None), 4), torch.randn(4, 4)
        counts_E = torch.tensor([4] + [0] * (count - 1))
        with torch.no_grad(), Elsewhere(torch.device("cuda", 0)):
            grouped.run(experts, rows_ND, counts_E)
    assert looped == [1024]


@pytest.mark.parametrize("slow", [False, True])
def test_without_a_fast_grouped_product_experts_with_a_capacity_are_padded(slow, monkeypatch):
    """Which waits for nothing; the loop takes the rest, and on the CPU all."""
    monkeypatch.setattr(grouped, "why_not", lambda device, dtype: "slow" if slow else None)
    experts, counts_E = Experts(8, LayerShape(dim=4, out_dim=4, tokens=None), 4), torch.full((8,), 2)
    rows_ND, taken = torch.randn(16, 4), []
    for backend in (grouped, loop, padded):
        monkeypatch.setattr(backend, "run", lambda *given, name=backend.__name__: taken.append((name, *given[3:])))
    with torch.no_grad():
        auto.run(experts, rows_ND, counts_E, 3)
        with Elsewhere(torch.device("cuda", 0)):
            auto.run(experts, rows_ND, counts_E, 3)
            auto.run(experts, rows_ND, counts_E)
    names = [name.rpartition(".")[2] for name, *_ in taken]
    assert names == (["loop", "padded", "loop"] if slow else ["grouped"] * 3)
    assert not slow or taken[1][1] == 3
