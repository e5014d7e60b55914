"""The hosts: what surrounds the expert layers, and one call through them."""

import copy
import gc
import pickle
import threading
import weakref
from dataclasses import astuple

import pytest
import torch
from pydantic import ValidationError
from timm.layers import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from hand_made import SMALL_HOST, Built, Plain, Table, installed, model_of, single_layer, toy_task
from moebench.contract import Context, Layer, Restricts, Routing
from moebench.errors import SuiteError, UnknownNameError
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.hosts.host import _CALL, Call, Site
from moebench.plugins.find import HOSTS
from moebench.tasks import get_task

DIGITS = get_task("digits").info


class Echo(Layer):
    """An MLP of timm's (or any module) as a layer."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        return self.module(x_BTD)


class Zero(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


def images(count=3, task=DIGITS, seed=0):
    return torch.randn(count, *astuple(task.inputs), generator=torch.Generator().manual_seed(seed))


def vit(layers, **settings):
    host = host_settings({**SMALL_HOST, **settings}).build(DIGITS)
    host.attach(layers)
    return host.eval()


def outputs_of(module, run):
    """What the module received and gave during run()."""
    seen = []
    handle = module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    run()
    handle.remove()
    return seen[0]


def test_patches_are_those_cut_by_hand():
    x_NCHW = torch.arange(2 * 2 * 4 * 6.0).view(2, 2, 4, 6)
    host = single_layer(Plain(), image=(2, 4, 6), classes=3, grid=2)
    for n in range(2):
        cut = [x_NCHW[n, :, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].flatten() for i in range(2) for j in range(2)]
        assert torch.equal(host.patches(x_NCHW)[n], torch.stack(cut))


@pytest.mark.parametrize("residual", [False, True])
def test_single_layer_is_patches_layer_flatten_head(residual):
    host = single_layer(Echo(nn.Linear(16, 16)), image=astuple(DIGITS.inputs), classes=10, residual=residual)
    x_BTD = host.patches(images())
    y_BTD = host.site.layer.module(x_BTD) + (x_BTD if residual else 0)
    assert torch.equal(host.outputs(images())["class"], host.head(y_BTD.flatten(1)))


def test_a_layer_norm_stands_before_the_layer_and_not_on_the_residual():
    image = astuple(DIGITS.inputs)
    host = single_layer(Echo(nn.Linear(16, 16)), image=image, classes=10, residual=True, layer_norm=True)
    x_NCHW = torch.randn(2, *image)
    patches_BTD = host.patches(x_NCHW)
    y_BTD = patches_BTD + host.site.layer(nn.functional.layer_norm(patches_BTD, (16,)))
    assert torch.allclose(host.outputs(x_NCHW)["class"], host.head(y_BTD.flatten(1)), atol=1e-5)


def test_vit_with_timms_own_mlps_for_layers_is_timms_vit():
    body = VisionTransformer(
        img_size=8,
        patch_size=4,
        in_chans=1,
        num_classes=10,
        global_pool="avg",
        class_token=False,
        embed_dim=16,
        depth=2,
        num_heads=2,
    ).eval()
    host = vit([Echo(copy.deepcopy(block.mlp)) for block in body.blocks], positions="learned")
    missing = host.body.load_state_dict(body.state_dict(), strict=False)
    assert all(".mlp.layer." in name for name in missing.missing_keys)
    assert torch.equal(host.outputs(images())["class"], body(images()))


def test_with_the_residual_a_silent_layer_leaves_the_stream_as_it_was():
    host = vit([Echo(Zero()), Echo(Zero())])
    for block in host.body.blocks:
        stream, out = outputs_of(block, lambda: host(images()))
        assert torch.equal(out, stream + block.attn(block.norm1(stream)))
    assert not torch.equal(*host(images(2)).outputs["class"])


def test_without_the_residual_a_silent_layer_leaves_nothing_of_the_stream():
    host = vit([Echo(Zero()), Echo(Zero())], residual=False)
    for block in host.body.blocks:
        _, out = outputs_of(block, lambda: host(images()))
        assert not out.any()
    one, other = host(images(2)).outputs["class"]
    assert torch.equal(one, other)


def test_without_the_residual_attention_keeps_its_own():
    host = vit([Echo(nn.Linear(16, 16)), Echo(Zero())], residual=False)
    block = host.body.blocks[0]
    stream, out = outputs_of(block, lambda: host(images()))
    assert torch.equal(out, block.mlp.layer.module(block.norm2(stream + block.attn(block.norm1(stream)))))


def test_only_the_chosen_blocks_are_replaced_first_block_first():
    made = []
    variant = Built(make=lambda shape: made.append(Plain()) or made[-1])
    host = host_settings({**SMALL_HOST, "depth": 4, "replace": [3, 1]})
    model = build_model(host, DIGITS, variant, (1, 1), {}, seed=0)
    assert [type(block.mlp) for block in model.body.blocks] == [Mlp, Site, Mlp, Site]
    assert [model.body.blocks[1].mlp.layer, model.body.blocks[3].mlp.layer] == made == model.layers()
    assert [(shape.index, shape.depth) for shape in variant.shapes] == [(0, 2), (1, 2)]


@pytest.mark.parametrize("host", [{"name": "single_layer", "grid": 4}, SMALL_HOST])
@pytest.mark.parametrize("task", ["digits", "cifar10"])
def test_a_layer_meets_the_shape_it_was_promised(host, task):
    info, settings = get_task(task).info, host_settings(host)
    model = build_model(settings, info, Built(make=lambda shape: Plain()), (1, 1)[: _depth(host)], {}, 0)
    call = Call(keep_inputs=True)
    model.run(images(2, info), call)
    shapes = layer_shapes(settings, info)
    assert [tuple(x_BTD.shape) for x_BTD in call.inputs] == [(2, s.tokens, s.dim) for s in shapes]
    assert [(s.index, s.depth, s.out_dim, s.bias) for s in shapes] == [
        (index, len(shapes), shapes[0].dim, True) for index in range(_depth(host))
    ]


def _depth(host):
    return host.get("depth", 1)


def test_too_few_layers_for_the_host_are_refused():
    with pytest.raises(ValueError, match="argument"):
        vit([Plain()])


def host_weights(model):
    return {name: value for name, value in model.state_dict().items() if ".layer." not in name and "site" not in name}


@pytest.mark.parametrize("host", [SMALL_HOST, {"name": "single_layer"}])
def test_the_hosts_weights_depend_on_the_seed_and_not_on_the_variant(host):
    models = [model_of(name, host=host, seed=seed) for name, seed in (("dense", 1), ("soft_moe", 1), ("dense", 2))]
    dense, soft, other = map(host_weights, models)
    assert dense.keys() == soft.keys() == other.keys()
    assert all(torch.equal(dense[name], soft[name]) for name in dense)
    head = next(name for name in dense if name.endswith("head.weight"))
    assert not torch.equal(dense[head], other[head])


def test_the_layers_weights_depend_on_the_seed_and_differ_between_layers():
    one, again, other = (model_of("soft_moe", seed=seed) for seed in (1, 1, 2))
    weights = [[p.clone() for p in model.layers()[0].parameters()] for model in (one, again, other)]
    assert all(map(torch.equal, weights[0], weights[1]))
    assert not torch.equal(weights[0][0], weights[2][0])
    assert not torch.equal(weights[0][0], next(one.layers()[1].parameters()))


def test_select_visits_each_layer_with_its_routing_on_the_masked_stream():
    model, asked = model_of("soft_moe").eval(), []

    def only_first_expert(visit):
        asked.append(visit)
        keep_BE = torch.zeros_like(visit.routing.mass_BE, dtype=torch.bool)
        keep_BE[:, 0] = True
        return keep_BE

    call = Call(select=only_first_expert, keep_inputs=True)
    model.run(images(), call)
    assert [visit.index for visit in asked] == [0, 1]
    assert [visit.layer for visit in asked] == model.layers()
    assert [visit.routing for visit in asked] == call.routings
    assert all(visit.x_BTD is x_BTD for visit, x_BTD in zip(asked, call.inputs, strict=True))
    for layer, x_BTD, routing in zip(model.layers(), call.inputs, call.routings, strict=True):
        assert torch.equal(layer.route(x_BTD, Context()).mass_BE, routing.mass_BE)
    whole = model(images())
    assert torch.equal(whole.routings[0].mass_BE, asked[0].routing.mass_BE)
    assert not torch.allclose(whole.routings[1].mass_BE, asked[1].routing.mass_BE)


def test_select_decides_which_experts_act():
    layer = Table(lambda x_BTD: torch.ones(len(x_BTD), 3), torch.eye(3))
    host = single_layer(layer, image=(1, 1, 3), classes=3, head=torch.eye(3), grid=1)
    keep_BE = torch.tensor([[True, False, True], [False, False, False]])
    assert torch.equal(host(torch.zeros(2, 1, 1, 3), select=lambda visit: keep_BE).outputs["class"], keep_BE.float())
    assert torch.equal(host(torch.zeros(2, 1, 1, 3), select=lambda visit: None).outputs["class"], torch.ones(2, 3))


class Doubling(Restricts, Table):
    """Its rule "double" doubles the weights of the kept experts; remembers what it was asked."""

    rules = ("double",)

    def restrict(self, x_BTD, routing, keep_BE, rule):
        self.asked = (rule, keep_BE)
        return Routing.soft(2 * routing.combine_BTE)


def test_another_rule_asks_the_layer_to_restrict_its_routing_and_the_call_keeps_the_full_one():
    layer = Doubling(lambda x_BTD: torch.ones(len(x_BTD), 3), torch.eye(3))
    host = single_layer(layer, image=(1, 1, 3), classes=3, head=torch.eye(3), grid=1)
    x_NCHW, keep_BE = torch.zeros(2, 1, 1, 3), torch.tensor([[True, False, True], [False, True, False]])
    out = host(x_NCHW, select=lambda visit: keep_BE, rule="double")
    assert torch.equal(out.outputs["class"], 2 * keep_BE.float())
    assert layer.asked == ("double", keep_BE)
    assert torch.equal(out.routings[0].mass_BE, torch.ones(2, 3))


@pytest.mark.parametrize(("select", "rule"), [(None, "double"), (lambda visit: None, "double")])
def test_a_rule_without_a_subset_changes_nothing(select, rule):
    layer = Doubling(lambda x_BTD: torch.ones(len(x_BTD), 3), torch.eye(3))
    host = single_layer(layer, image=(1, 1, 3), classes=3, head=torch.eye(3), grid=1)
    assert torch.equal(host(torch.zeros(2, 1, 1, 3), select=select, rule=rule).outputs["class"], torch.ones(2, 3))
    assert not hasattr(layer, "asked")


def test_the_layers_alone_do_what_they_did_in_the_whole_pass():
    model = model_of("sparse_topk").eval()

    def only_first_half(visit):
        return torch.arange(8).expand_as(visit.routing.mass_BE) < 4

    whole, given = Call(select=only_first_half, keep_inputs=True), []
    handles = [site.register_forward_hook(lambda *args: given.append(args[2])) for site in model._sites()]
    model.run(images(), whole)
    [handle.remove() for handle in handles]
    again = Call(select=only_first_half, keep_inputs=True)
    outputs = model.run_layers(whole.inputs, again)
    assert len(outputs) == 2
    assert all(map(torch.equal, outputs, given))
    assert all(map(torch.equal, again.inputs, whole.inputs))
    assert not torch.equal(outputs[0], model.run_layers(whole.inputs, Call())[0])
    assert _CALL.get() is None
    with pytest.raises(ValueError, match="zip"):
        model.run_layers(whole.inputs[:1], Call())


def test_a_pass_without_a_call_gives_the_same_logits():
    model = model_of("sparse_topk").eval()
    assert torch.equal(model.outputs(images())["class"], model(images()).outputs["class"])


def things_in(module):
    """Everything that hangs on a module's objects, but for parameters, buffers and submodules."""
    return {(name, key): value for name, sub in module.named_modules() for key, value in vars(sub).items()}


def test_a_call_leaves_nothing_in_the_model():
    model = model_of("sparse_topk").eval()
    before = pickle.dumps(model)
    weights, things = copy.deepcopy(model.state_dict()), things_in(model)
    output = model(images(), select=lambda visit: None)
    assert things_in(model).keys() == things.keys()
    assert pickle.dumps(model) == before
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    mass = weakref.ref(output.routings[0].mass_BE)
    del output
    gc.collect()
    assert mass() is None


@pytest.mark.parametrize("name", ["dense", "soft_moe", "sparse_topk"])
@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_that_was_called_is_a_model_of_its_own(name, how):
    model = model_of(name).eval()
    expected = model(images()).outputs["class"]
    twin = how(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    output = twin(images())
    assert torch.equal(output.outputs["class"], expected)
    assert len(output.routings) == 2


def test_an_exception_in_a_call_does_not_reach_the_next_one():
    model = model_of("soft_moe").eval()
    expected = model(images()).outputs["class"]

    def fails(visit):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        model(images(), select=fails)
    assert _CALL.get() is None
    output = model(images())
    assert len(output.routings) == 2
    assert torch.equal(output.outputs["class"], expected)


def test_two_threads_do_not_hear_each_other():
    model, counts = model_of("soft_moe").eval(), []

    def call_often(size):
        for _ in range(20):
            counts.append([len(routing.mass_BE) == size for routing in model(images(size)).routings])

    threads = [threading.Thread(target=call_often, args=(size,)) for size in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [[True, True]] * 60


def test_nominal_routing_is_used_only_where_it_is_asked_for():
    model = model_of("sparse_topk").eval()
    call = Call(nominal=True)
    model.run(images(), call)
    assert call.routings[0].mass_BE.std() < 1e-6
    assert model(images()).routings[0].mass_BE.std() > 1e-3


BAD = [
    ({"name": "vit", "dim": 64, "heads": 3}, "dim 64 must be a multiple of heads 3"),
    ({"name": "vit", "depth": 2, "replace": [2]}, r"replace \[2\] must name different blocks from 0 to 1"),
    ({"name": "vit", "depth": 2, "replace": [-1]}, r"replace \[-1\] must name different blocks"),
    ({"name": "vit", "depth": 2, "replace": [0, 0]}, r"replace \[0, 0\] must name different blocks"),
    ({"name": "vit", "replace": []}, "must name different blocks"),
    ({"name": "vit", "replace": [0.0]}, "replace.0"),
    ({"name": "vit", "dim": "64"}, "valid integer"),
    ({"name": "vit", "depth": True}, "valid integer"),
    ({"name": "vit", "depth": 0}, "greater than or equal to 1"),
    ({"name": "vit", "residual": 1}, "valid boolean"),
    ({"name": "vit", "bias": "yes"}, "valid boolean"),
    ({"name": "vit", "activation": "tanh"}, "'gelu', 'relu', 'silu' or 'swiglu'"),
    ({"name": "resnet", "activation": "swiglu"}, "activation 'swiglu' is gated"),
    ({"name": "vit", "width": 64}, "width"),
    ({"name": "single_layer", "grid": 0}, "greater than or equal to 1"),
    ({"name": "single_layer", "depth": 2}, "depth"),
]


@pytest.mark.parametrize(("values", "words"), BAD)
def test_a_wrong_setting_is_refused_by_name(values, words):
    with pytest.raises(ValidationError, match=words):
        host_settings(values)


def test_a_misspelt_host_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown host 'vti'; did you mean 'vit'"):
        host_settings({"name": "vti"})
    with pytest.raises(
        UnknownNameError,
        match="known: bare, decoder, encoder, resnet, single_layer, tabular, token_sum, tokenwise, vit",
    ):
        host_settings({})


@pytest.mark.parametrize("host", [{"name": "vit", "patch": 3}, {"name": "single_layer", "grid": 3}])
def test_patches_that_do_not_fill_the_image_are_refused(host):
    with pytest.raises(SuiteError, match="3 does not divide the 8 x 8 images of task 'digits'"):
        layer_shapes(host_settings(host), DIGITS)
    with pytest.raises(SuiteError, match="does not divide"):
        layer_shapes(host_settings(host), toy_task((1, 9, 8), 2))
    with pytest.raises(SuiteError, match="does not divide"):
        layer_shapes(host_settings(host), toy_task((1, 8, 9), 2))


@pytest.mark.parametrize("name", HOSTS.installed())
def test_settings_survive_json(name):
    settings = host_settings({"name": name} | {"vit": {"replace": [1]}, "token_sum": {"tokens": 2}}.get(name, {}))
    assert host_settings(settings.model_dump(mode="json")) == settings


def test_installed_variants_fit_both_hosts_of_images():
    for host in (SMALL_HOST, {"name": "single_layer"}):
        model = model_of("sparse_topk", host=host)
        assert model(images()).outputs["class"].shape == (3, 10)
    assert installed("dense").name == "dense"
