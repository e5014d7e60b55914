"""The causal decoder: what it computes, that it is causal with any layer that is, and who has no place in it."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from hand_made import installed, model_of
from moebench.board import Reason, build_board
from moebench.budgets import Budget, settle
from moebench.budgets.place import check_claims
from moebench.contract import Layer, Routing, Variant, wrap
from moebench.errors import HostError, SuiteError
from moebench.hosts import host_kind, host_settings, layer_shapes
from moebench.plans.make import make_plan
from moebench.plugins.find import HOSTS, find_variants
from moebench.suites.request import ask
from moebench.tasks import TaskInfo, Tokens, get_task

SMALL = {"name": "decoder", "dim": 16, "depth": 2, "heads": 2}
PHONEBOOK = get_task("phonebook_256").info
BUDGET = 24_000
LOOKS_AHEAD = {"soft_moe", "expert_choice", "smola"}
READERS = [name for name in sorted(find_variants()) if "tokens" in installed(name).hosts]
"""Those of feature maps have no place here."""


def text(tokens=5, vocabulary=7, answer=2):
    return TaskInfo(
        name="toy",
        inputs=Tokens(tokens, vocabulary, answer),
        targets={"next": vocabulary},
        label="toy",
    )


def ids(count=3, info=PHONEBOOK, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(info.inputs.vocabulary, (count, info.inputs.length), generator=generator)


def shape(host=SMALL, info=PHONEBOOK):
    return layer_shapes(host_settings(host), info)[0]


def decoder(layers, info=PHONEBOOK, **settings):
    host = host_settings({**SMALL, **settings}).build(info)
    host.attach(layers)
    return host.eval()


class Doubled(Layer):
    """y = 2 x + 1, a token at a time."""

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        return 2 * x_BTD + 1


def by_hand(host, ids_NT):
    """The same in the plainest way: attention one token and one head after the other."""
    x_BTD = host.token_VD[ids_NT] + host.place_TD
    for block in host.blocks:
        seen = block.attention
        q_BTD, k_BTD, v_BTD = seen.qkv(block.norm1(x_BTD)).chunk(3, 2)
        rows = []
        for t in range(x_BTD.shape[1]):
            heads = []
            for q_Bd, k_BTd, v_BTd in zip(
                q_BTD[:, t].chunk(seen.heads, 1), k_BTD.chunk(seen.heads, 2), v_BTD.chunk(seen.heads, 2), strict=True
            ):
                score_BT = torch.einsum("bd,btd->bt", q_Bd, k_BTd[:, : t + 1]) / q_Bd.shape[1] ** 0.5
                heads.append(torch.einsum("bt,btd->bd", score_BT.softmax(1), v_BTd[:, : t + 1]))
            rows.append(torch.cat(heads, 1))
        x_BTD = x_BTD + seen.out(torch.stack(rows, 1))
        x_BTD = x_BTD + 2 * block.norm2(x_BTD) + 1
    return host.norm(x_BTD) @ host.head.weight.mT


def test_it_is_embeddings_blocks_norm_and_head_and_the_last_places_answer():
    host = decoder([Doubled(), Doubled()])
    nn.init.normal_(host.token_VD)
    ids_NT, answer = ids(), PHONEBOOK.inputs.answer
    got = host.outputs(ids_NT)["number"]
    assert got.shape == (3, answer, PHONEBOOK.outputs)
    assert torch.allclose(got, by_hand(host, ids_NT)[:, -answer:], atol=1e-5)


def test_the_shapes_are_causal_and_those_of_the_text():
    shapes = layer_shapes(host_settings({**SMALL, "depth": 3}), text(tokens=5))
    assert [(s.dim, s.out_dim, s.tokens, s.causal, s.index, s.depth) for s in shapes] == [
        (16, 16, 5, True, index, 3) for index in range(3)
    ]
    assert {name for name in HOSTS.installed() if host_kind(name).causal} == {"decoder"}


def changes_earlier(model, info):
    """Whether replacing tokens from some place on changes the stream before it."""
    ids_NT, other_NT = ids(4, info), ids(4, info, seed=1)
    want = model.stream(ids_NT)
    for first in range(1, info.inputs.length):
        later = torch.cat([ids_NT[:, :first], other_NT[:, first:]], 1)
        if not torch.allclose(model.stream(later)[:, :first], want[:, :first], atol=1e-5):
            return True
    return False


@pytest.mark.parametrize("name", READERS)
def test_the_model_is_causal_exactly_where_its_layers_claim_to_be(name):
    settings = {"cosine_topk": {"router_dim": 2}, "sigma_moe": {"experts": 8}}.get(name, {})
    model = model_of(name, host=SMALL, budget=BUDGET, task="phonebook_256", **settings).eval()
    with torch.no_grad():
        nn.init.normal_(model.token_VD)
        for layer in model.layers():
            for parameter in layer.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        assert changes_earlier(model, PHONEBOOK) == (name in LOOKS_AHEAD)
    assert installed(name).causal == (name not in LOOKS_AHEAD)


@pytest.mark.parametrize("name", sorted(LOOKS_AHEAD))
def test_a_variant_that_looks_ahead_has_no_place_and_the_reason_is_a_sentence(name):
    budget = Budget("total", BUDGET, layer_shapes(host_settings(SMALL), PHONEBOOK))
    with pytest.raises(HostError) as caught:
        settle(installed(name), budget, {})
    assert str(caught.value) == (
        f"{name} has no place in a causal host, because it does not claim that its output for a token depends on no "
        "later one."
    )


def test_a_setting_that_looks_ahead_has_none_either_though_the_variant_claims_to_be_causal():
    """With room for a few, first choices of later tokens take the places of second choices of earlier ones."""
    budget = Budget("total", BUDGET, layer_shapes(host_settings(SMALL), PHONEBOOK))
    settle(installed("sparse_topk"), budget, {"experts": 8})
    with pytest.raises(HostError, match=r"in a causal host with experts=8, capacity=0\.5, because changing the tokens"):
        settle(installed("sparse_topk"), budget, {"experts": 8, "capacity": 0.5})
    in_vit = Budget("total", BUDGET, layer_shapes(host_settings({"name": "vit", "dim": 16}), get_task("digits").info))
    settle(installed("sparse_topk"), in_vit, {"experts": 8, "capacity": 0.5})


def test_a_variant_of_maps_has_no_place_among_tokens():
    class Maps(Variant):
        name = "maps"
        hosts = ("map",)

    with pytest.raises(HostError, match="maps takes part in hosts of feature maps, and this one is of tokens"):
        check_claims(Maps(), shape())


def test_a_wrapped_module_has_a_place_where_it_claims_to_be_causal_and_is():
    def mlp(dim, hidden):
        return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    class Ahead(nn.Module):
        def __init__(self, dim, hidden):
            super().__init__()
            self.mlp = mlp(dim, hidden)

        def forward(self, x_BTD):
            return self.mlp(x_BTD.flip(1))

    budget = Budget("total", BUDGET, layer_shapes(host_settings(SMALL), PHONEBOOK))
    settle(wrap(mlp, causal=True), budget, {})
    with pytest.raises(HostError, match="mlp has no place in a causal host, because it does not claim"):
        settle(wrap(mlp), budget, {})
    with pytest.raises(HostError, match="ahead has no place in a causal host with its defaults, because changing"):
        settle(wrap(Ahead, causal=True), budget, {})


SUITE = """
title = "Causal"
budgets = [9_000]
seeds = 1
variants = ["dense", "soft_moe", "sparse_topk"]
[[task]]
name = "phonebook_256"
[host]
name = "decoder"
dim = 16
heads = 2
[training]
steps = 3
batch = 32
[tuning]
trials = 1
lr = { low = 1e-3, high = 1e-2, default = 3e-3 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }
[space.sparse_topk]
experts = [8]
capacity = [0.5, 1.0e9]
"""


def test_a_plan_gives_the_reason_and_leaves_out_the_settings_that_look_ahead(tmp_path):
    path = tmp_path / "causal.toml"
    path.write_text(SUITE)
    groups = {group.row: group for group in make_plan(ask(str(path), device="cpu").requests[0]).groups}
    assert "soft_moe has no place in a causal host" in groups["soft_moe"].problem
    assert not groups["soft_moe"].trials
    assert groups["sparse_topk"].trials[0]["capacity"] == 1.0e9
    assert groups["sparse_topk"].space["capacity"]["options"] == [1.0e9]
    assert not groups["dense"].problem


def test_the_board_gives_the_reason_in_place_of_a_rank(tmp_path):
    path = tmp_path / "causal.toml"
    path.write_text(SUITE)
    board = build_board(make_plan(ask(str(path), device="cpu").requests[0]), lambda identity: None)
    reasons = {entry.variant: (entry.rank, entry.reason) for entry in board.rungs[0].entries}
    rank, reason = reasons["soft_moe"]
    assert (rank, reason.code) == (None, "cannot_be_planned")
    assert "soft_moe has no place in a causal host" in reason.sentence
    assert reasons["dense"] == (None, Reason("not_run"))


@pytest.mark.parametrize(
    ("host", "task", "said"),
    [
        (SMALL, "digits", "the host 'decoder' reads token ids; task 'digits' gives images."),
        ({"name": "vit"}, "phonebook_256", "the host 'vit' reads images; task 'phonebook_256' gives token ids."),
        ({"name": "bare"}, "cifar10", "the host 'bare' reads vectors; task 'cifar10' gives images."),
        (
            {"name": "token_sum", "tokens": 4},
            "digits",
            "the host 'token_sum' reads features; task 'digits' gives images.",
        ),
        ({"name": "resnet"}, "norm", "the host 'resnet' reads images; task 'norm' gives features."),
    ],
)
def test_a_host_takes_what_it_can_read(host, task, said):
    with pytest.raises(SuiteError) as caught:
        layer_shapes(host_settings(host), get_task(task).info)
    assert str(caught.value) == said


def test_a_wrong_setting_is_refused_by_name():
    with pytest.raises(ValidationError, match="dim 16 must be a multiple of heads 3"):
        host_settings({**SMALL, "heads": 3})
    with pytest.raises(ValidationError, match="replace"):
        host_settings({**SMALL, "replace": [0]})


@pytest.mark.parametrize("name", [name for name in READERS if name not in LOOKS_AHEAD])
def test_budgets_hold_on_this_host(name):
    """Within 1 % of one budget over both layers, host parameters identical; of total parameters and of active ones."""
    wide = {"name": "decoder", "dim": 32, "depth": 2, "heads": 4}
    shapes = layer_shapes(host_settings(wide), PHONEBOOK)
    solution = settle(installed(name), Budget("total", 100_000, shapes), {})
    assert solution.counts.total == pytest.approx(100_000, rel=0.01)
    if name not in ("mu_moe_cp", "mu_moe_tr", "lory", "mmoe", "ple", "home"):  # all their parameters are active
        solution = settle(installed(name), Budget("active", 40_000, shapes), {})
        assert solution.counts.active == pytest.approx(40_000, rel=0.01)
    model = model_of(name, host=wide, budget=100_000, task="phonebook_256")
    own = sum(p.numel() for p in model.parameters()) - sum(p.numel() for x in model.layers() for p in x.parameters())
    # Embeddings of 36 tokens and 7 places, two blocks (two norms, 3 D^2 + 3 D, D^2 + D), a norm, a head.
    assert own == (36 + 7) * 32 + 2 * (4 * 32 + 4 * 32 * 32 + 4 * 32) + 2 * 32 + 36 * 32


def test_a_layer_that_gives_nothing_leaves_the_stream_to_attention():

    class Silent(Doubled):
        def compute(self, x_BTD, routing, keep_BE=None):
            return torch.zeros_like(x_BTD)

    host = decoder([Silent()], depth=1)
    ids_NT = ids()
    before = F.embedding(ids_NT, host.token_VD) + host.place_TD
    (block,) = host.blocks
    assert torch.allclose(host.stream(ids_NT), before + block.attention(block.norm1(before)), atol=1e-6)
