"""FLOPs against numbers worked by hand: multiply and add are two, biases and activations are nothing."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from layers import slots
from moebench.budgets import check_rules, count_flops, count_layer, dense_flops
from moebench.budgets.count import Counts
from moebench.budgets.flops import model_flops
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model, host_flops
from moebench.plugins.backends import choose_backend, load_backend
from moebench.tasks import get_task
from moevariants.dense import Dense
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import SparseTopK

SUPPORT = Path(__file__).parent / "support"


@pytest.mark.parametrize("bias", [True, False])
def test_an_mlp(bias):
    """T = 3, D = 4, H = 6, O = 5: 3 tokens, each 4 x 6 and 6 x 5 products, two FLOPs a product."""
    (slot,) = slots(dim=4, out_dim=5, tokens=3, bias=bias)
    assert count_flops(Dense().layer(slot, 6, {}), slot) == 2 * 3 * (24 + 30) == 324


def test_an_mlp_where_the_host_does_not_fix_the_tokens_counts_one():
    (slot,) = slots(dim=4, tokens=None)
    assert count_flops(Dense().layer(slot, 6, {}), slot) == 2 * (24 + 24)


def test_soft_moe():
    """T = 5, D = O = 4, E = 2, P = 3, S = 6, H = 7: logits, slots, experts, combination."""
    (slot,) = slots(dim=4, tokens=5)
    logits, mix, combine = 2 * 5 * 4 * 6, 2 * 6 * 5 * 4, 2 * 5 * 6 * 4
    experts = 6 * 2 * (4 * 7 + 7 * 4)
    layer = SoftMoE().layer(slot, 7, {"experts": 2, "slots": 3})
    assert count_flops(layer, slot) == logits + mix + experts + combine == 1392


@pytest.mark.parametrize(("capacity", "rows"), [(None, 12), (1.0, 12), (0.5, 8)])
def test_sparse_topk(capacity, rows):
    """T = 6, D = 4, E = 4, K = 2, H = 3. At capacity 0.5 an expert takes ceil(6 x 2 x 0.5 / 4) = 2 rows."""
    (slot,) = slots(dim=4, tokens=6)
    layer = SparseTopK().layer(slot, 3, {"experts": 4, "top_k": 2, "capacity": capacity})
    router, each_row = 2 * 6 * 4 * 4, 2 * (4 * 3 + 3 * 4)
    assert count_flops(layer, slot) == router + rows * each_row


def test_the_count_does_not_depend_on_the_weights_or_the_mode():
    (slot,) = slots()
    layers = [SparseTopK().layer(slot, 16, {"experts": 8, "noise_std": 1.0}) for _ in range(3)]
    assert len({count_flops(layer.train(mode), slot) for layer in layers for mode in (True, False)}) == 1


def test_the_padding_of_a_grouped_product_is_not_counted():
    """T = 16, D = 64, E = 8, K = 2, H = 13, which the product pads to 16."""
    (slot,) = slots()
    layer = SparseTopK().layer(slot, 13, {"experts": 8})
    loop = count_flops(layer, slot)
    assert loop == 2 * 16 * 64 * 8 + 2 * 32 * 2 * 64 * 13
    choose_backend(layer, "grouped")
    assert count_flops(layer, slot) == loop > 0
    assert layer.experts.backend == "auto"
    layer.experts.set_backend(load_backend("loop"))
    assert model_flops(layer, layer.router.weight_DE.new_ones(1, 16, 64)) == loop


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("layers", "dim", "out_dim", "tokens"), [(1, 64, 64, 16), (3, 24, 24, 7), (2, 10, 6, 4)])
@pytest.mark.parametrize("width", [1, 37, 512])
def test_the_yardstick_is_what_dense_itself_needs(bias, layers, dim, out_dim, tokens, width):
    shapes = slots(layers, dim=dim, out_dim=out_dim, tokens=tokens, bias=bias)
    built = [Dense().layer(shape, width, {}) for shape in shapes]
    counted = sum(count_flops(layer, shape) for layer, shape in zip(built, shapes, strict=True))
    parameters = sum(count_layer(layer).total for layer in built)
    assert abs(dense_flops(shapes, parameters) - counted) <= 1


def test_the_limit_is_eleven_tenths_of_dense():
    shapes = slots(2)
    parameters = 2 * (129 * 1024 + 64)
    dense = 2 * 2 * 16 * 128 * 1024
    counts = Counts(parameters, parameters, parameters, 0)
    assert dense_flops(shapes, parameters) == dense
    assert check_rules("total", shapes, counts, int(1.1 * dense), experts=8) == ""
    assert check_rules("total", shapes, counts, int(1.1 * dense) + 2, experts=8) == (
        f"its layers need {int(1.1 * dense) + 2:,} FLOPs per input, over 1.1 times the {dense:,} of dense layers "
        "with the same parameters."
    )
    assert check_rules("active", shapes, counts, 10 * dense, experts=0) == ""


def test_the_first_layer_that_a_process_counts_is_counted_whole():
    # oneDNN's product tells torch how to count it when it is first used: here, by the first layer.
    code = (
        "from layers import slots\n"
        "from moebench.budgets import count_flops\n"
        "from moevariants.dense import Dense\n"
        "(shape,) = slots(1, dim=64, out_dim=64, tokens=16)\n"
        "print(count_flops(Dense().layer(shape, 2048, {}), shape))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SUPPORT)
    assert int(ran.stdout) == 2 * 16 * 2 * 64 * 2048


def test_flops_of_a_host_are_those_of_its_own_products():
    info = get_task("digits").info
    host = host_settings({"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 4})
    models = [build_model(host, info, variant, [9, 9], {}, seed=0) for variant in (Dense(), SparseTopK())]
    tokens, dim = 4, 16
    embed, head = 2 * tokens * 16 * dim, 2 * dim * 10
    attention = 2 * tokens * dim * 4 * dim + 2 * 2 * tokens * tokens * dim
    assert [host_flops(model, info) for model in models] == [embed + 2 * attention + head] * 2


@pytest.mark.parametrize(
    ("host", "task"),
    [
        ({"name": "decoder"}, "phonebook_256"),
        ({"name": "resnet"}, "digits"),
        ({"name": "token_sum", "tokens": 5}, "norm"),
        ({"name": "tokenwise"}, "clusters_near"),
    ],
)
def test_counting_leaves_a_host_and_the_generator_as_they_were(host, task):
    info, host = get_task(task).info, host_settings(host)
    model = build_model(host, info, Dense(), [4] * len(layer_shapes(host, info)), {}, seed=0)
    next(model.children()).eval()
    modes, state = [m.training for m in model.modules()], copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    assert host_flops(model, info) >= 0
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(3)))
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
