"""The ResNet host: timm's own network but for the layers, and maps that are tokens row by row."""

from dataclasses import astuple

import pytest
import torch
from pydantic import ValidationError
from timm.models.resnet import BasicBlock
from torch import nn

from hand_made import Built, Plain, model_of
from moebench.contract import Layer, LayerShape, Routing
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.hosts.host import Call
from moebench.hosts.resnet import OnMap
from moebench.tasks import get_task

CIFAR, DIGITS = get_task("cifar10").info, get_task("digits").info
SMALL = {"name": "resnet", "channels": [4, 6], "blocks": [1, 2]}


class OfMap(Layer):
    """A module of maps as a layer of tokens."""

    def __init__(self, module, grid):
        super().__init__()
        self.module, self.grid = module, grid

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        return self.module(x_BTD.mT.unflatten(2, self.grid)).flatten(2).mT


class Convolutions(nn.Module):
    """Of a basic block: the first, its norm and activation, the second."""

    def __init__(self, block):
        super().__init__()
        self.parts = nn.Sequential(block.conv1, block.bn1, nn.ReLU(), block.conv2)

    def forward(self, x):
        return self.parts(x)


def images(task=CIFAR, count=2):
    return torch.randn(count, *astuple(task.inputs), generator=torch.Generator().manual_seed(0))


def host(**settings):
    torch.manual_seed(0)
    return host_settings(SMALL | settings).build(CIFAR)


@pytest.mark.parametrize("residual", [True, False])
def test_with_timms_own_blocks_for_layers_it_is_timms_network(residual):
    """A host with nothing replaced but block 2 is compared with one whose block 2 is put back as a layer."""
    whole = host(replace=[0]).body  # block 2 is timm's here
    block = whole.layer2[1]
    assert isinstance(block, BasicBlock)
    replaced = host(replace=[2], residual=residual)
    grid = (8, 8)
    layer = OfMap(Convolutions(block) if residual else block, grid)
    if residual:
        replaced.body.layer2[1].bn2.load_state_dict(block.bn2.state_dict())
    replaced.attach([layer])
    # Block 0 is vacant in one of them; both get the same one.
    first = BasicBlock(4, 4, norm_layer=nn.InstanceNorm2d)
    whole.layer1[0] = replaced.body.layer1[0] = first
    for name in ("conv1", "bn1", "layer2", "fc"):
        source, target = getattr(whole, name), getattr(replaced.body, name)
        shared = {key: value for key, value in source.state_dict().items() if key in target.state_dict()}
        target.load_state_dict(shared, strict=False)
    # To rounding: the host lays maps out channels last, and convolutions then sum in another order.
    torch.testing.assert_close(replaced.eval().outputs(images())["class"], whole.eval()(images()), rtol=1e-4, atol=1e-5)


def test_a_map_is_handed_over_row_by_row():
    place = OnMap()
    seen = []

    class Seen(nn.Module):
        def forward(self, x_BTD):
            seen.append(x_BTD)
            return torch.cat([x_BTD, x_BTD], 2)

    place.site = Seen()
    x_BDhw = torch.arange(2 * 3 * 2 * 5.0).view(2, 3, 2, 5)
    y_BOhw = place(x_BDhw)
    assert seen[0].shape == (2, 10, 3)
    assert seen[0][1, 7].tolist() == x_BDhw[1, :, 1, 2].tolist(), "token 7 of rows of five is the third of the second"
    assert torch.equal(y_BOhw, torch.cat([x_BDhw, x_BDhw], 1))


class Silent(Layer):
    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        return torch.zeros_like(x_BTD)


def test_with_the_residual_a_silent_layer_leaves_the_stream_and_without_it_nothing():
    for residual in (True, False):
        network = host(replace=[2], residual=residual)
        network.attach([Silent()])
        stream = []
        network.body.layer2[1].register_forward_hook(lambda _, given, out, seen=stream: seen.append((given[0], out)))
        network.eval().outputs(images())
        ((given, out),) = stream
        assert torch.equal(out, given.relu() if residual else torch.zeros_like(given))


@pytest.mark.parametrize("task", [CIFAR, DIGITS])
@pytest.mark.parametrize("residual", [True, False])
def test_a_layer_meets_the_shape_it_was_promised(task, residual):
    settings = host_settings({"name": "resnet", "channels": [4, 6, 8], "blocks": [2, 1, 2], "residual": residual})
    shapes = layer_shapes(settings, task)
    model = build_model(settings, task, Built(make=lambda shape: Plain()), (1, 1, 1), {}, 0)
    call = Call(keep_inputs=True)
    assert model.run(images(task), call)["class"].shape == (2, 10)
    assert [tuple(x_BTD.shape) for x_BTD in call.inputs] == [(2, s.tokens, s.dim) for s in shapes]
    assert [(s.dim, s.index, s.depth, s.kind) for s in shapes] == [
        (4, 0, 3, "map"),
        (4, 1, 3, "map"),
        (8, 2, 3, "map"),
    ]
    side = task.inputs.height // 2
    assert [s.grid for s in shapes] == [(side, side), (side, side), (side // 4, side // 4)]


def test_an_odd_image_is_halved_upwards():
    settings = host_settings(SMALL)
    assert [settings.grid(index, (7, 9)) for index in range(3)] == [(4, 5), (2, 3), (2, 3)]


def test_the_hosts_weights_depend_on_the_seed_and_not_on_the_variant():
    given = {"host": SMALL | {"replace": [2]}, "budget": 20_000, "task": "cifar10"}
    models = [model_of(name, seed=seed, **given) for name, seed in (("plain_conv", 1), ("dense", 1), ("dense", 2))]
    weights = [{n: v for n, v in m.state_dict().items() if ".layer." not in n} for m in models]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[1]["body.fc.weight"], weights[2]["body.fc.weight"])


@pytest.mark.parametrize("name", ["dense", "sparse_topk", "soft_moe", "block_moe", "conv_moe", "plain_block"])
@pytest.mark.parametrize("residual", [True, False])
def test_variants_of_tokens_and_of_maps_train_in_it(name, residual):
    # Wider than SMALL: oneDNN 3.13 (torch 2.15, AVX2) corrupts memory going back through fewer than 4 channels.
    host = SMALL | {"channels": [8, 16], "replace": [2], "residual": residual}
    model = model_of(name, host=host, budget=80_000, task="cifar10")
    out = model(images())
    out.outputs["class"].square().sum().backward()
    assert out.outputs["class"].shape == (2, 10)
    learnt = [parameter.grad is not None for layer in model.layers() for parameter in layer.parameters()]
    assert any(learnt)


def test_no_image_depends_on_its_batch_mates():
    model = model_of("block_moe", host=SMALL | {"replace": [2]}, budget=40_000, task="cifar10").train()
    together, alone = model.outputs(images(count=3))["class"][:1], model.outputs(images(count=3)[:1])["class"]
    torch.testing.assert_close(together, alone)


BAD = [
    ({"blocks": [1]}, r"channels \[4, 6\] and blocks \[1\] must each name the same 1 to 4 stages"),
    ({"channels": [4] * 5, "blocks": [1] * 5}, "must each name the same 1 to 4 stages"),
    ({"channels": [5, 6]}, r"channels \[5, 6\] must be at least 2, the first even"),
    ({"blocks": [1, 0]}, r"blocks \[1, 0\] at least 1"),
    ({"replace": [1]}, r"replace \[1\] must name different blocks that keep their input's shape, from \[0, 2\]"),
    ({"replace": [3]}, r"replace \[3\] must name different blocks"),
    ({"replace": [0, 0]}, r"replace \[0, 0\] must name different blocks"),
    ({"replace": []}, "must name different blocks"),
    ({"replace": [0.0]}, "replace.0"),
    ({"channels": "4"}, "channels"),
    ({"residual": 1}, "valid boolean"),
    ({"depth": 2}, "depth"),
]


@pytest.mark.parametrize(("values", "words"), BAD)
def test_a_wrong_setting_is_refused_by_name(values, words):
    with pytest.raises(ValidationError, match=words):
        host_settings(SMALL | values)


def test_all_that_can_be_replaced_and_their_list_are_one_host():
    assert host_settings(SMALL) == host_settings(SMALL | {"replace": [2, 0]})
    assert host_settings(SMALL).replace == (0, 2)


def test_a_shape_says_what_kind_it_is_and_what_its_grid_holds():
    tokens = LayerShape(dim=4, out_dim=4, tokens=6)
    assert tokens.kind == "tokens"
    assert "grid" not in tokens.to_json()
    assert tokens.to_json()["kind"] == "tokens"
    on_map = LayerShape(dim=4, out_dim=4, tokens=6, grid=(2, 3))
    assert (on_map.kind, on_map.to_json()["grid"]) == ("map", (2, 3))
    with pytest.raises(ValueError, match="a grid of 2 x 4 has 8 tokens, not 6"):
        LayerShape(dim=4, out_dim=4, tokens=6, grid=(2, 4))
