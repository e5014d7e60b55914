"""Every layer and backend on CUDA, in fp32 and in bf16: `tox run -e gpu`. The CPU in fp64 is the oracle."""

import copy
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from statistics import stdev

import numpy as np
import pytest
import torch

from hand_made import DIGITS, SMALL_HOST, accuracy, answer, digits, model_of, recipe, train
from moebench.budgets.place import takes
from moebench.checks.subject import slot_of
from moebench.contract import Context
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.measures.scores.timing import Stopwatch
from moebench.plugins.find import find_variant, find_variants
from moebench.plugins.load import load_variant
from moebench.publish.rerun import LEAST_SPREAD, MOST_SHARE, SPREADS
from moebench.training.device import use
from moebench.training.graphs import CAPTURED, CudaBackend
from moevariants.backends import grouped
from moevariants.sparse_topk import PRESETS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")

# A width that divides that of the tokens, and no draws, which are other ones on each device.
FITTED = {"latent_moe": {"narrow": 3}, "sigma_moe": {"expert_dropout": 0.0}}
LAYERS = [
    *((name, FITTED.get(name, {})) for name in sorted(find_variants())),
    ("soft_moe", {"slots": 2, "normalise": True}),
    ("sparse_topk", PRESETS["switch"]),
    ("sparse_topk", PRESETS["gshard"]),
    ("sparse_topk", PRESETS["v_moe"] | {"noise_std": 0.0, "loss/load": 0.0}),
]
BACKENDS = ["auto", "loop", "grouped", "padded"]
SAME_BITS = {"cosine_topk", "deepseek", "dense", "expert_choice", "hash_position", "modse", "smola", "soft_moe"}
SAME_BITS |= {"mu_moe_cp", "mu_moe_tr", "sparse_topk"}
"""Of two steps, without ``deterministic``; of all others only with it."""

NO_WAITING = [("sparse_topk", {}, "grouped"), ("deepseek", {}, "grouped"), ("sparse_topk", PRESETS["switch"], "padded")]

every = pytest.mark.parametrize(("name", "settings"), LAYERS, ids=str)
with_backends = pytest.mark.parametrize("backend", BACKENDS)


def build(name, settings, backend="auto"):
    """A layer of sizes that are multiples of nothing, and its inputs. Backends are those of layers that have them."""
    variant = load_variant(find_variant(name))
    slot = slot_of(variant)
    shape = replace(slot, dim=27, out_dim=27 if slot.grid or name == "moe_pp" else 21)
    torch.manual_seed(0)
    layer = variant.layer(shape, 13, settings)
    served = [module for module in layer.modules() if hasattr(module, "set_backend")]
    if backend != "auto" and not served:
        pytest.skip("it has no experts of which a backend computes the chosen ones")
    for module in served:
        module.set_backend(backend)
    count = slot.tokens if slot.grid else 17
    return layer, torch.randn(3, count, shape.dim, generator=torch.Generator().manual_seed(1))


def step(layer, x_BTD, bf16=False):
    """Outputs, and the gradients of their weighed sum and of all losses."""
    x_BTD = x_BTD.clone().requires_grad_()
    with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
        routing = layer.route(x_BTD, Context())
        y_BTO = layer.compute(x_BTD, routing)
    probe_BTO = torch.randn(y_BTO.shape, generator=torch.Generator().manual_seed(2))
    loss = (y_BTO.to(x_BTD.dtype) * probe_BTO.to(x_BTD)).sum() + sum(routing.losses.values())
    wanted = [x_BTD, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    grads = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    return y_BTO.detach(), grads


@with_backends
@every
def test_fp32_is_the_cpu_in_fp64(name, settings, backend):
    layer, x_BTD = build(name, settings, backend)
    wanted, their_grads = step(copy.deepcopy(layer).double(), x_BTD.double())
    got, grads = step(layer.cuda(), x_BTD.cuda())
    torch.testing.assert_close(got.cpu().double(), wanted, rtol=1e-3, atol=1e-4)
    for one, other in zip(grads, their_grads, strict=True):
        torch.testing.assert_close(one.cpu().double(), other, rtol=1e-3, atol=1e-3)


@with_backends
@every
def test_bf16_autocast_is_near_and_every_gradient_is_finite(name, settings, backend):
    layer, x_BTD = (each.cuda() for each in build(name, settings, backend))
    wanted, _ = step(layer, x_BTD)
    got, grads = step(layer, x_BTD, bf16=True)
    torch.testing.assert_close(got.float(), wanted, rtol=5e-2, atol=5e-2)
    assert all(torch.isfinite(grad).all() for grad in grads)


@with_backends
@pytest.mark.parametrize(("name", "settings"), [case for case in LAYERS if case[0] in SAME_BITS], ids=str)
def test_two_steps_are_the_same_bit_for_bit(name, settings, backend):
    built = [build(name, settings, backend) for _ in range(2)]
    (y, grads), (again, other) = [step(layer.cuda(), x_BTD.cuda()) for layer, x_BTD in built]
    assert torch.equal(y, again)
    assert all(torch.equal(a, b) for a, b in zip(grads, other, strict=True))


# The grouped product is fast in bf16 alone; of fp32 the loop takes over, which waits.
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize(
    ("name", "settings", "backend", "bf16"),
    [(*case, bf16) for case in NO_WAITING for bf16 in (False, True) if bf16 or case[2] != "grouped"],
    ids=str,
)
def test_a_forward_pass_does_not_wait_for_the_device(name, settings, backend, bf16):
    layer, x_BTD = (each.cuda() for each in build(name, settings, backend))
    with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
        layer.compute(x_BTD, layer.route(x_BTD, Context()))  # trials and kernels are loaded now
        torch.cuda.set_sync_debug_mode("error")
        try:
            layer.compute(x_BTD, layer.route(x_BTD, Context()))
        finally:
            torch.cuda.set_sync_debug_mode("default")


class Unwatched:
    """A keeper that keeps nothing: after the first step and until the third, whatever waits for the device raises."""

    def kept(self):
        return None

    def refuse(self, why):
        raise AssertionError(why)

    def after(self, done, take):
        torch.cuda.set_sync_debug_mode("error" if done < 3 else "default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("name", sorted(find_variants()))
def test_whole_training_steps_do_not_wait_for_the_device(name):
    """As tests/test_variants_waiting.py sees it without one."""
    if grouped.why_not("cuda", torch.bfloat16):
        pytest.skip("experts are computed one by one here, which waits")
    variant, host = load_variant(find_variant(name)), host_settings(SMALL_HOST)
    shapes = layer_shapes(host, DIGITS.info)
    if not takes(variant, shapes[0]):
        pytest.skip("it works on maps, one after the other")
    model = build_model(host, DIGITS.info, variant, [16] * len(shapes), {}, seed=0).cuda()
    try:
        curves = train(model, digits("train").to("cuda"), recipe(precision="bf16"), Unwatched())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert curves.finite


def trained(name, graphs=None, *, seed=5, steps=20):
    """A model trained on CUDA in bf16, and its curves."""
    model, how = (
        model_of(name, budget=40_000, seed=seed).cuda(),
        recipe(steps=steps, lr=3e-3, precision="bf16", seed=seed),
    )
    return model, train(model, digits("train", 500).to("cuda"), how, graphs=graphs)


@pytest.mark.parametrize("name", ["dense", "sparse_topk", "deepseek", "topk_qb", "remoe"])
def test_twenty_steps_as_a_graph_have_the_losses_of_eager_ones(name):
    if name != "dense" and grouped.why_not("cuda", torch.bfloat16):
        pytest.skip("experts are computed one by one here, which waits")
    _, eager = trained(name)
    _, graphed = trained(name, CudaBackend(torch.device("cuda", 0)))
    assert (eager.graphs, graphed.graphs) == ("", CAPTURED)
    assert len(set(graphed.loss_S.tolist())) == 20, "each step has inputs of its own"
    np.testing.assert_allclose(graphed.loss_S, eager.loss_S, rtol=0.02)


@pytest.mark.parametrize("seen", [True, False])
def test_a_step_that_waits_goes_on_without_a_graph_and_with_its_noise(seen):
    """Of a wait for the whole device torch does not warn, and the capture fails."""
    model = model_of("sparse_topk", budget=40_000, seed=5, noise_std=1.0).cuda()

    def wait(grad):
        return grad * float(grad.sum() == grad.sum()) if seen else (torch.cuda.synchronize(), grad)[1]

    next(model.parameters()).register_hook(wait)
    how, graphs = recipe(steps=20, lr=3e-3, precision="bf16", seed=5), CudaBackend(torch.device("cuda", 0))
    curves = train(model, digits("train", 500).to("cuda"), how, graphs=graphs)
    assert curves.graphs.startswith("not captured: ")
    assert ("waits for the device at" in curves.graphs) == seen
    assert len(set(curves.loss_S.tolist())) == 20


def test_one_run_again_differs_by_less_than_verify_allows(capsys):
    """Sums whose order varies make no two runs alike, and seeds are what verify measures that by."""

    def score(seed):
        model, _ = trained("sparse_topk", seed=seed, steps=200)
        data = digits("validation").to("cuda")
        found = answer(model, data, precision="bf16")
        return accuracy(found.logits_NC.cpu(), data.targets["class"].cpu())

    again, seeds = [score(5) for _ in range(3)], [score(seed) for seed in (5, 6, 7)]
    spread, reach = max(again) - min(again), MOST_SHARE * (again[0] - DIGITS.info.headline.floor)
    allowed = max(min(SPREADS * stdev(seeds), reach), SPREADS * LEAST_SPREAD)
    with capsys.disabled():
        print(f"\none run three times: accuracy {again}, apart by {spread:.4f}; verify allows {allowed:.4f}")
    assert spread <= max(reach, SPREADS * LEAST_SPREAD), "no submission is allowed more"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_deterministic_run_has_the_same_bits_again(precision):
    """In a process of its own, because cuBLAS has to be told before its first product."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        first, second = pool.submit(_deterministic_losses, precision).result()
    assert first == second
    assert len(first) > 15


def _deterministic_losses(precision):
    """The losses of 20 steps of every layer that has a place in the host, twice."""
    use(torch.device("cuda", 0), precision, deterministic=True)
    shape = layer_shapes(host_settings(SMALL_HOST), DIGITS.info)[0]
    names = [name for name in sorted(find_variants()) if takes(load_variant(find_variant(name)), shape)]
    return [{name: _losses(name, precision) for name in names} for _ in range(2)]


def _losses(name, precision):
    model, how = model_of(name, budget=40_000, seed=5).cuda(), recipe(steps=20, lr=3e-3, precision=precision)
    return train(model, digits("train", 500).to("cuda"), how).loss_S.tolist()


def test_latency_is_of_the_device_the_host_and_a_graph_apart():
    model, data = model_of("sparse_topk").cuda(), digits("validation").to("cuda")
    stopwatch = Stopwatch(model, data, DIGITS.loss, 64, "bf16", repeats=3)
    stopwatch.warm_up()
    found = stopwatch.measure()
    assert stopwatch.about()["parameters"] == "bfloat16"
    assert found["forward_host_ms"] > 0
    if "no_graph" not in stopwatch.about():
        assert found["forward_graph_ms"] < 1.2 * found["forward_ms"]


def test_a_run_trains_on_the_gpu(tmp_path):
    from moebench import run
    from moebench.records import Store

    run("quick", seeds=1, trials=1, variants=["sparse_topk"], device="cuda", results=tmp_path, quiet=True, mlflow=False)
    records = [*Store(tmp_path).records()]
    assert {(record.status, record.provenance["device_type"]) for record in records} == {("done", "cuda")}
    assert {record.cell["kind"] for record in records} == {"trial", "final", "latency"}
