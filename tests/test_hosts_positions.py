"""Positions: the numbers that are added or turned by, and what a linear probe reads of a place in each host."""

from functools import cache

import pytest
import torch
from pydantic import ValidationError
from timm.layers import apply_rot_embed_cat, build_rotary_pos_embed, build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import probes
from hand_made import Toy, recipe, split
from moebench.contract import Layer, Routing, Variant
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.hosts.positions import angles, rotated, sincos
from moebench.plugins.find import HOSTS
from moebench.tasks import get_task
from moebench.training import loop


def test_sines_and_cosines_of_a_text_are_those_worked_by_hand():
    # Two frequencies: pi, and pi * 4 ** -1/2 = pi / 2, for four places.
    found_TD = sincos([4], 4)
    by_hand_TD = [[0, 0, 1, 1], [0, 1, -1, 0], [0, 0, 1, -1], [0, -1, -1, 0]]
    assert torch.allclose(found_TD, torch.tensor(by_hand_TD, dtype=torch.float32), atol=1e-6)


@pytest.mark.parametrize("grid", [(4, 4), (2, 3), (1, 1)])
def test_sines_and_cosines_of_an_image_are_timms_at_its_temperature(grid):
    angle_TF = angles(grid, 8, 10_000.0)
    theirs_TD = build_sincos2d_pos_embed(list(grid), 16)
    assert torch.allclose(torch.cat([angle_TF.sin(), angle_TF.cos()], 1), theirs_TD, atol=1e-6)


@pytest.mark.parametrize("grid", [(4, 4), (2, 2), (8, 8), (7,), (64,)])
def test_neighbours_differ_by_more_than_tokens_do(grid):
    """Tokens of unit variance in 64 channels are about sqrt(2 * 64) = 11 apart, and a patch embedding's 0.58 times."""
    place_TD = sincos(grid, 64)
    apart_TT = torch.cdist(place_TD, place_TD) + 100 * torch.eye(len(place_TD))
    assert float(apart_TT.min()) > 4


def test_turning_is_timms():
    x_BhTd = torch.randn(2, 3, 12, 8)
    sin_Td, cos_Td = build_rotary_pos_embed([3, 4], dim=8, temperature=100.0, in_pixels=False)
    theirs_BhTd = apply_rot_embed_cat(x_BhTd, torch.cat([sin_Td, cos_Td], -1))
    assert torch.allclose(rotated(x_BhTd, angles([3, 4], 4, 100.0)), theirs_BhTd, atol=1e-5)


def test_a_product_of_turned_vectors_depends_on_the_distance_alone():
    q_d, k_d = torch.randn(2, 8)
    angle_TF = angles([3, 3], 4, 100.0)
    q_Td, k_Td = rotated(q_d.expand(9, 8), angle_TF), rotated(k_d.expand(9, 8), angle_TF)
    product = (q_Td @ k_Td.mT).view(3, 3, 3, 3)
    assert torch.allclose(product[0, 0, 1, 1], product[1, 1, 2, 2], atol=1e-5)
    assert torch.allclose(product[2, 1, 1, 0], product[1, 2, 0, 1], atol=1e-5)
    assert not torch.allclose(product[0, 0, 1, 1], product[0, 0, 1, 0], atol=1e-3)


class Linear(Variant):
    """A linear map of each token, which hides nothing of the stream."""

    name = "linear"

    def build(self, shape, size):
        return LinearLayer(shape)


class LinearLayer(Layer):
    def __init__(self, shape):
        super().__init__()
        self.map = nn.Linear(shape.dim, shape.out_dim)

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        return self.map(x_BTD)


IMAGES = Toy((3, 16, 16), 4)
VIT = {"name": "vit", "dim": 32, "depth": 2, "heads": 2, "patch": 4}
"""On 16 patches of 48 pixels, so that a patch leaves no direction of the stream free."""


def images():
    generator = torch.Generator().manual_seed(1)
    x_NCHW = torch.randn(512, 3, 16, 16, generator=generator)
    return split(x_NCHW, x_NCHW.mean(1).unfold(1, 8, 8).unfold(2, 8, 8).mean((3, 4)).flatten(1).argmax(1))


def task_of(host):
    kind = host["name"]
    names = {"decoder": "phonebook_256", "encoder": "phonebook_256", "tokenwise": "clusters_near", "token_sum": "norm"}
    return get_task(names[kind]) if kind in names else IMAGES


@cache
def _read(*host):
    settings, task = host_settings(dict(host)), task_of(dict(host))
    sizes = (1,) * len(layer_shapes(settings, task.info))
    model = build_model(settings, task.info, Linear(), sizes, {}, seed=0)
    before = probes.places_read(model, task.info)
    data = images() if task is IMAGES else task.load("train")
    loop.train(model, data, recipe(steps=100, batch=32, lr=1e-3, seed=0), task.loss)
    return before, probes.places_read(model, task.info)


def read(host):
    """What the probe reads before each layer, before and after 100 steps of training."""
    return _read(*host.items())


READS = {
    "vit": VIT,
    "vit learned": {**VIT, "positions": "learned"},
    "decoder": {"name": "decoder"},
    "decoder sincos": {"name": "decoder", "positions": "sincos"},
    "encoder": {"name": "encoder"},
}


@pytest.mark.parametrize("host", READS.values(), ids=READS)
def test_the_place_is_read_before_the_first_layer_and_after_before_training_and_after(host):
    before, after = read(host)
    assert len(before) == len(after) == 2
    assert min(*before, *after) > 0.9, (before, after)


OFF = {
    "vit": {**VIT, "positions": "learned", "position_std": 0.0},
    "vit of protocol 1": {**VIT, "positions": "learned", "position_std": 0.02},
    "vit rotary": {**VIT, "positions": "rotary"},
}


@pytest.mark.parametrize("host", OFF.values(), ids=OFF)
def test_without_places_in_the_stream_the_probe_is_near_chance(host):
    before, _ = read(host)
    assert max(before) < 0.2, before  # of 16 places


@pytest.mark.parametrize("off", [{"position_std": 0.0, "positions": "learned"}, {"positions": "rotary"}])
def test_a_decoder_without_places_in_the_stream_leaves_what_its_mask_tells(off):
    """How many tokens an average is over shows in its size."""
    before, _ = read({"name": "decoder", **off})
    assert max(before) < 0.6, before


ELSEWHERE = {
    "single_layer": ({"name": "single_layer", "grid": 4}, 0.1),
    "tokenwise": ({"name": "tokenwise"}, 0.1),
    "token_sum": ({"name": "token_sum", "tokens": 5}, 0.3),
    "resnet": ({"name": "resnet", "channels": (16, 32), "blocks": (1, 2)}, 0.1),
}
"""Hosts whose first layer is not told the place, and the most that a probe may read of it there."""


@pytest.mark.parametrize(("host", "most"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_other_hosts_do_not_tell_their_first_layer(host, most):
    settings, task = host_settings(host), task_of(host)
    model = build_model(settings, task.info, Linear(), (1,) * len(layer_shapes(settings, task.info)), {}, seed=0)
    first, *later = probes.places_read(model, task.info)
    assert first < most
    if host["name"] == "resnet":  # the zeros around its maps come inwards with every convolution
        assert later[-1] > 0.3


def test_of_every_host_it_is_known_what_it_tells():
    known = {host["name"] for host in READS.values()} | ELSEWHERE.keys()
    # bare: its layer is given the task's vectors and nothing else. tabular: a row is one token.
    assert known | {"bare", "tabular"} == {*HOSTS.installed()}


def test_learned_positions_at_timms_deviation_are_those_of_protocol_1():
    torch.manual_seed(3)
    ours = host_settings({**VIT, "positions": "learned", "position_std": 0.02}).build(IMAGES.info)
    torch.manual_seed(3)
    theirs = VisionTransformer(
        img_size=16,
        patch_size=4,
        num_classes=4,
        global_pool="avg",
        class_token=False,
        embed_dim=32,
        depth=2,
        num_heads=2,
    )
    assert torch.equal(ours.body.pos_embed, theirs.pos_embed)
    assert torch.equal(ours.body.head.weight, theirs.head.weight)


@pytest.mark.parametrize("name", ["vit", "decoder"])
def test_the_deviation_is_spelled_out_where_places_are_learned(name):
    task = IMAGES if name == "vit" else get_task("phonebook_256")
    host = {"name": name, "dim": 64, **({"patch": 4} if name == "vit" else {}), "positions": "learned"}
    usual = {"vit": 0.5, "decoder": 0.02}[name]
    assert host_settings(host) == host_settings({**host, "position_std": usual})
    torch.manual_seed(0)
    built = host_settings({**host, "position_std": 0.3}).build(task.info)
    places = built.body.pos_embed if name == "vit" else built.place_TD
    assert places.requires_grad
    assert float(places.detach().std()) == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize("name", ["vit", "decoder"])
def test_fixed_places_are_no_parameters_and_of_the_scale_of_the_tokens(name):
    task = IMAGES if name == "vit" else get_task("phonebook_256")
    host = {"name": name, "dim": 64, **({"patch": 4} if name == "vit" else {})}
    models = {p: host_settings({**host, "positions": p}).build(task.info) for p in ("sincos", "learned", "rotary")}
    counts = {p: sum(each.numel() for each in model.parameters()) for p, model in models.items()}
    assert counts["sincos"] == counts["rotary"] < counts["learned"]
    fixed = models["sincos"]
    with torch.no_grad():
        if name == "vit":
            places, tokens = fixed.body.pos_embed, fixed.body.patch_embed(probes.noise(task.info, 64))
        else:
            places, tokens = fixed.place_TD, fixed.token_VD.detach()
    share = places.square().mean().sqrt() / tokens.square().mean().sqrt()
    assert 0.8 < float(share) < 1.5


BAD = [
    ({"name": "vit", "position_std": 0.5}, "position_std 0.5 is of learned positions"),
    ({"name": "decoder", "positions": "rotary", "position_std": 0.5}, "and positions are 'rotary'"),
    ({"name": "vit", "positions": "learned", "position_std": -1.0}, "greater than or equal to 0"),
    ({"name": "vit", "positions": "none"}, "'sincos', 'learned' or 'rotary'"),
    ({"name": "vit", "dim": 6, "heads": 2}, "dim 6 must be a multiple of 4 for positions 'sincos'"),
    ({"name": "vit", "dim": 12, "heads": 2, "positions": "rotary"}, "dim / heads 6 must be a multiple of 4"),
    ({"name": "decoder", "dim": 5, "heads": 1, "positions": "sincos"}, "dim 5 must be a multiple of 2"),
    ({"name": "decoder", "dim": 6, "heads": 2, "positions": "rotary"}, "dim / heads 3 must be a multiple of 2"),
]


@pytest.mark.parametrize(("values", "words"), BAD)
def test_a_wrong_setting_is_refused_by_name(values, words):
    with pytest.raises(ValidationError, match=words):
        host_settings(values)


@pytest.mark.parametrize("positions", ["sincos", "learned", "rotary"])
def test_the_decoder_stays_causal(positions):
    task = get_task("phonebook_256")
    settings = host_settings({"name": "decoder", "dim": 16, "positions": positions})
    model = build_model(settings, task.info, Linear(), (1, 1), {}, seed=0).eval()
    ids_BT = probes.noise(task.info, 4)
    other_BT = ids_BT.clone()
    other_BT[:, -1] = (other_BT[:, -1] + 1) % task.info.inputs.vocabulary
    assert torch.allclose(model.stream(ids_BT)[:, :-1], model.stream(other_BT)[:, :-1], atol=1e-6)


@pytest.mark.parametrize("positions", ["sincos", "learned", "rotary", "off"])
@pytest.mark.parametrize("host", [VIT, {"name": "decoder"}], ids=["vit", "decoder"])
def test_exchanging_tokens_changes_the_answer(host, positions):
    """Attention and a mean over tokens do not see their order without positions, but for the decoder's mask."""
    task = task_of(host)
    told = {"positions": "learned", "position_std": 0.0} if positions == "off" else {"positions": positions}
    model = build_model(host_settings({**host, **told}), task.info, Linear(), (1, 1), {}, seed=0).eval().double()
    inputs = probes.noise(task.info, 4)
    if host is VIT:
        inputs = inputs.double()
        exchanged = inputs.roll(4, 3)
    else:
        exchanged = inputs.clone()
        exchanged[:, [0, 1]] = inputs[:, [1, 0]]
    alike = torch.allclose(model.head_outputs(inputs), model.head_outputs(exchanged), rtol=0, atol=1e-10)
    assert alike == (positions == "off" and host is VIT)
