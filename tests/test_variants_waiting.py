"""Training does not wait for a GPU: whole steps of every layer on tensors without values, of which none can be read."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from moebench.budgets.place import takes
from moebench.contract import wrap
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.plugins.find import find_variant, find_variants
from moebench.plugins.load import load_variant
from moebench.tasks import get_task
from moebench.training import loop
from moebench.training.recipe import Recipe
from moevariants.backends import grouped
from moevariants.parts import maps
from moevariants.sparse_topk import PRESETS
from no_values import META, autocast_without_values

HOSTS = {
    "vit": ({"name": "vit", "dim": 32, "depth": 1, "heads": 2, "patch": 4}, "digits"),
    "resnet": ({"name": "resnet", "channels": [16, 32], "blocks": [1, 1]}, "digits"),
    "decoder": ({"name": "decoder", "dim": 32, "depth": 1, "heads": 2}, "phonebook_256"),
    "tabular": ({"name": "tabular", "dim": 32}, "correlated"),
}
OTHER_HOSTS = {
    "encoder": ({"name": "encoder", "dim": 32, "depth": 1, "heads": 2}, "code_masked"),
    "tokenwise": ({"name": "tokenwise", "dim": 32, "depth": 1}, "clusters_near"),
    "token_sum": ({"name": "token_sum", "tokens": 5}, "norm"),
    "single_layer": ({"name": "single_layer", "grid": 2}, "digits"),
    "learned places": (
        {"name": "vit", "dim": 32, "depth": 1, "heads": 2, "patch": 4, "positions": "learned"},
        "digits",
    ),
}
"""Tried with a few layers: what a layer does there it does in :data:`HOSTS`, too."""


class Balanced(nn.Module):
    """A layer of another author: two of four experts for each token; its bias follows their load."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.router = nn.Linear(dim, 4)
        self.w_in, self.w_out = (nn.Parameter(torch.randn(4, *shape)) for shape in ((dim, hidden), (hidden, dim)))
        self.register_buffer("bias", torch.zeros(4))

    def forward(self, x_BTD):
        weight_BTE = (self.router(x_BTD) + self.bias).softmax(-1)
        each_BTED = torch.einsum("btd,edh,ehf->btef", x_BTD, self.w_in, self.w_out)
        return (each_BTED * weight_BTE.unsqueeze(-1)).sum(2)

    def follow(self, load_E):
        self.bias -= 0.001 * (load_E.float() - load_E.float().mean()).sign()


WRAPPED = {
    "wrapped": wrap(
        Balanced, name="wrapped", experts=("w_in", "w_out"), gates="router", top_k=2, after_step=Balanced.follow
    )
}
PRESET = {f"{name} preset": ("sparse_topk", dict(settings)) for name, settings in PRESETS.items()}
BOUND = {"hard": 2.0, "loss/importance": 0.1, "loss/kl": 0.1}
MORE = {
    "wrapped": ("wrapped", {}),
    "two losses": ("sparse_topk", {"loss/balance": 0.1, "loss/z": 0.1}),
    **{f"{name} within bounds": (name, BOUND) for name in ("block_moe", "conv_moe")},
}
ROWS = {name: (name, {}) for name in sorted(find_variants())} | PRESET | MORE

READ = "meta tensor|Meta tensor"
"""What torch says where a value is read."""

WAITING = [row for row, (name, _) in ROWS.items() if name in ("block_moe", "conv_moe")]
"""Their experts work on maps, one after the other: how many maps each has must be known."""


@pytest.fixture(autouse=True)
def without_a_device(monkeypatch):
    """What only a device or a value could answer: the trial of the grouped product, the curves at the end; and the one
    kernel that an optimiser's step is there."""
    adamw, auxiliary = torch.optim.AdamW, loop.auxiliary
    monkeypatch.setattr(grouped, "why_not", lambda device, dtype: None)
    monkeypatch.setattr(loop, "auxiliary", lambda routings, _: auxiliary(routings, all_weighted(routings)))
    monkeypatch.setattr(loop._Recorder, "done", lambda *end: loop.Curves(np.zeros(0), np.zeros((0, 0, 0))))
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, lr, fused, **how: adamw(groups, lr, foreach=True, **how))
    with autocast_without_values(monkeypatch):
        yield


def all_weighted(routings):
    """A weight for each of the losses that layers give."""
    return {name: 0.1 for routing in routings for name in routing.losses}


def model_of(row, kind, backend=None):
    """A model and its task; None where the variant has no place in the host."""
    (name, settings), (host, task) = ROWS[row], (HOSTS | OTHER_HOSTS)[kind]
    variant = WRAPPED[name] if name in WRAPPED else load_variant(find_variant(name))
    host, task = host_settings(host), get_task(task)
    shapes = layer_shapes(host, task.info)
    if not all(takes(variant, shape) for shape in shapes):
        return None
    model = build_model(host, task.info, variant, [16] * len(shapes), settings, seed=0)
    if name in WRAPPED:
        with torch.no_grad():  # the first look at its gates tells what they give
            model.outputs(task.load("validation").inputs[:2])
    for module in model.modules() if backend else ():
        if hasattr(module, "set_backend"):
            module.set_backend(backend)
    return model, task


def train(model, task):
    """Two steps of the loop that all models are trained by, with every loss that the layer gives."""
    how = Recipe(
        steps=2,
        batch=8,
        micro_batch=None,
        lr=1e-3,
        weight_decay=0.1,
        loss_weights={},
        precision="bf16",
        augment=task.augment,
        seed=0,
    )
    loop.train(model.to(META), task.load("validation")[:16].to(META), how, task.loss)


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("row", [row for row in ROWS if row not in WAITING])
def test_no_step_reads_a_value(row, kind):
    built = model_of(row, kind)
    if built is None:
        assert kind != "resnet"
        return
    train(*built)
    assert all(parameter.device == META for parameter in built[0].parameters())


@pytest.mark.parametrize("row", WAITING)
def test_what_is_around_experts_on_maps_reads_no_value(row, monkeypatch):
    """Router, gate, bounds and what all maps go through first; one expert has all rows, so that none are counted."""
    monkeypatch.setattr(maps, "by_expert", lambda rows_NF, counts_E: [(0, rows_NF)])
    train(*model_of(row, "resnet"))


@pytest.mark.parametrize("backend", ["grouped", "padded"])
def test_no_step_of_a_backend_reads_a_value_where_a_capacity_is_known(backend):
    train(*model_of("switch preset", "vit", backend))


# The loop needs to know how many rows an expert has, and so does padding where no capacity says so.
@pytest.mark.parametrize(
    ("row", "kind", "backend"),
    [*((row, "resnet", None) for row in WAITING), ("sparse_topk", "vit", "loop"), ("sparse_topk", "vit", "padded")],
)
def test_one_that_waits_is_seen(row, kind, backend):
    with pytest.raises((RuntimeError, NotImplementedError), match=READ):
        train(*model_of(row, kind, backend))


UNSTEADY = re.compile(
    r"aten::(avg_pool3d_backward|_?adaptive_(avg|max)_pool\dd_backward|fractional_max_pool\dd_backward|max_unpool\dd"
    r"|upsample_.*_backward|reflection_pad\dd_backward|nll_loss2d_.*|_(cudnn_)?ctc_loss_backward|put_?|histc|bincount"
    r"|median|grid_sampler_\dd_backward|scatter_reduce_?)"
)
"""Operators that ``torch.use_deterministic_algorithms`` lists as without a deterministic form on CUDA; of bincount that
is so only with weights."""


class Operators(TorchDispatchMode):
    """The names of all operators that run, of backward passes, too, and how many ran that are no views: on a GPU each
    starts a kernel.
    """

    def __init__(self):
        super().__init__()
        self.names, self.count = set(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        weighted = (*args, None, None)[1] is not None or (kwargs or {}).get("weights") is not None
        if func._schema.name != "aten::bincount" or weighted:
            self.names.add(func._schema.name)
        return func(*args, **(kwargs or {}))

    def unsteady(self):
        """Those that torch cannot do in a fixed order on CUDA."""
        return [name for name in self.names if UNSTEADY.fullmatch(name)]


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("row", ROWS)
def test_every_step_can_be_deterministic(row, kind, monkeypatch):
    if row in WAITING:
        monkeypatch.setattr(maps, "by_expert", lambda rows_NF, counts_E: [(0, rows_NF)])
    built = model_of(row, kind)
    if built is None:
        assert kind != "resnet"
        return
    with Operators() as seen:
        train(*built)
    assert any(name.endswith("_backward") for name in seen.names)
    assert not seen.unsteady()


@pytest.mark.parametrize("kind", OTHER_HOSTS)
@pytest.mark.parametrize("row", ["dense", "sparse_topk", "soft_moe"])
def test_no_other_host_reads_a_value_or_has_an_order_that_varies(row, kind):
    with Operators() as seen:
        train(*model_of(row, kind))
    assert not seen.unsteady()


@pytest.mark.parametrize(
    "work",
    [
        lambda y_BTD: y_BTD.scatter_reduce(1, torch.zeros_like(y_BTD, dtype=torch.int64), y_BTD, "sum"),
        lambda y_BTD: nn.functional.adaptive_avg_pool2d(y_BTD, y_BTD.shape[1:]),
    ],
)
def test_an_order_that_varies_is_seen(work):
    """In a forward pass, or in a backward one alone."""
    model, task = model_of("dense", "vit")
    (layer,) = model.layers()
    compute = layer.compute
    layer.compute = lambda *given: work(compute(*given))
    with Operators() as seen:
        train(model, task)
    assert len(seen.unsteady()) == 1


MOST = 150
ALLOWED = {"cosine_topk": 170, "v_moe preset": 190, "moe_pp": 260, "modse": 300, "home": 370}
"""Operators of one layer and step beyond those of a dense one, at most. Small models take as long as these start; the
kernels in Triton, which take the place of some, are not counted here.
"""


@pytest.mark.parametrize("row", [row for row in ROWS if row not in WAITING])
def test_a_layer_starts_few_kernels(row):
    built = model_of(row, "vit")
    if built is None:
        assert row in ("plain_block", "plain_conv")
        return
    assert (operators_of(built) - operators_of(model_of("dense", "vit"))) / 2 <= ALLOWED.get(row, MOST)


def operators_of(built):
    """How many two steps take."""
    with Operators() as seen:
        train(*built)
    return seen.count


class Reads(torch.autograd.Function):
    """Reads a value in its backward pass."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * grad.sum().item()


def _in_route(layer, route):
    def changed(x_BTD, context):
        x_BTD.sum().item()
        return route(x_BTD, context)

    return changed


def _in_compute(layer, compute):
    return lambda x_BTD, routing, keep_BE=None: compute(x_BTD * float(x_BTD.amax() > 0), routing, keep_BE)


def _in_backward(layer, compute):
    return lambda x_BTD, routing, keep_BE=None: Reads.apply(compute(x_BTD, routing, keep_BE))


def _in_after_step(layer, after_step):
    def changed():
        after_step()
        if next(layer.parameters()).isnan().any():
            raise AssertionError

    return changed


READERS = {"route": _in_route, "compute": _in_compute, "backward": _in_backward, "after_step": _in_after_step}


@pytest.mark.parametrize("where", READERS)
@pytest.mark.parametrize("row", ["dense", "sparse_topk", "soft_moe"])
def test_a_value_that_is_read_is_seen_wherever_that_is(row, where):
    model, task = model_of(row, "vit")
    (layer,) = model.layers()
    method = "compute" if where == "backward" else where
    setattr(layer, method, READERS[where](layer, getattr(layer, method)))
    with pytest.raises((RuntimeError, NotImplementedError), match=READ):
        train(model, task)
