"""The nulls and the oracle of routing, and the task that asks for it: what each can and cannot do."""

import copy
import dataclasses

import pytest
import torch

from hand_made import DIGITS, digits, model_of, recipe
from moebench.budgets import Budget, solve
from moebench.budgets.place import check_claims
from moebench.contract import Context, LayerShape
from moebench.errors import HostError
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.hosts.host import Call
from moebench.plans.make import make_plan
from moebench.studies import study_of
from moebench.suites import load_experiment
from moebench.suites.request import ask
from moebench.tasks import get_task
from moebench.tasks.clusters import CLUSTERS, LABELS, TOKENS
from moebench.training.evaluate import evaluate_task
from moebench.training.loop import train
from moebench.training.recipe import Recipe
from moebench.training.token_counts import show_token_counts
from moevariants.hash_token import HashToken
from moevariants.oracle_router import OracleRouter
from moevariants.random_detached import RandomDetached
from moevariants.random_router import RandomRouter
from moevariants.sparse_topk import SparseTopK

SHAPE = LayerShape(dim=8, out_dim=8, tokens=5, vocabulary=11)


def gradient_by_route(variant):
    """d y / d x through the weights of the routing alone."""
    torch.manual_seed(0)
    layer = variant.layer(SHAPE, 4, {"experts": 4})
    x_BTD = torch.randn(2, 5, 8, requires_grad=True)
    weight_BTK = layer.route(x_BTD, Context()).weight_BTK
    weight_BTK[..., 0].sum().backward() if weight_BTK.requires_grad else None
    return x_BTD.grad


def test_nothing_steers_the_detached_router_and_the_frozen_one_is_steered():
    assert gradient_by_route(RandomDetached()) is None
    assert gradient_by_route(RandomRouter()).abs().sum() > 0


def test_the_detached_router_is_the_frozen_one_in_the_forward_pass():
    layers = []
    for variant in (RandomRouter(), RandomDetached()):
        torch.manual_seed(0)
        layers.append(variant.layer(SHAPE, 4, {"experts": 4}))
    x_BTD = torch.randn(2, 5, 8)
    assert torch.equal(layers[0](x_BTD), layers[1](x_BTD))
    assert not any(parameter.requires_grad for parameter in layers[1].router.parameters())


@pytest.mark.parametrize("host", ["single_layer", "vit"])
def test_where_no_layer_lies_below_the_frozen_router_is_the_detached_one(host):
    """So in the suite paper-variants it is the null of learned routing, whose host is the first."""
    settings = {"name": "single_layer", "grid": 2} if host == "single_layer" else None
    losses = []
    for name in ("random_router", "random_detached"):
        model = model_of(name, host=settings, experts=4, budget=40_000)
        losses.append(train(model, digits("train", 200), recipe(steps=20), DIGITS.loss).loss_S.tolist())
    assert (losses[0] == losses[1]) == (host == "single_layer")


def test_a_token_goes_where_its_id_sends_it_and_nowhere_else():
    layer = HashToken().layer(SHAPE, 4, {"experts": 4})
    x_BTD, ids_BT = torch.randn(3, 5, 8), torch.randint(11, (3, 5))
    chosen_BTK = layer.route(x_BTD, Context(token_ids_BT=ids_BT)).chosen_BTK
    assert torch.equal(chosen_BTK, layer.route(-x_BTD, Context(token_ids_BT=ids_BT)).chosen_BTK)
    assert torch.equal(chosen_BTK.sort(-1).values, layer.router.expert_PK[ids_BT].sort(-1).values)
    every_BTK = layer.route(torch.randn(1, 11, 8), Context(token_ids_BT=torch.arange(11)[None])).chosen_BTK
    loads = torch.bincount(every_BTK.flatten(), minlength=4)
    assert loads.max() - loads.min() <= 2, "the table deals experts out evenly"


def loads(layer, counts_V):
    return torch.bincount(layer.router.expert_PK.flatten(), counts_V.repeat_interleave(2), minlength=layer.num_experts)


def test_a_table_of_tokens_is_dealt_out_evenly_for_their_frequencies():
    """As skewed as bytes are: one over rank."""
    shape = dataclasses.replace(SHAPE, vocabulary=256)
    counts_V = (1e5 / torch.arange(1, 257)).long()[torch.randperm(256, generator=torch.Generator().manual_seed(0))]
    torch.manual_seed(0)
    layer, other = (HashToken().layer(shape, 4, {"experts": 8}) for _ in range(2))
    before, state = loads(layer, counts_V), torch.get_rng_state()
    layer.expect_tokens(counts_V)
    other.expect_tokens(counts_V)
    assert torch.equal(torch.get_rng_state(), state)
    after = loads(layer, counts_V)
    assert before.max() / before.mean() > 1.5
    assert after.max() / after.mean() < 1.02
    first_V, second_V = layer.router.expert_PK.unbind(1)
    assert not bool((first_V == second_V).any()), "the experts of a token differ"
    assert not torch.equal(layer.router.expert_PK, other.router.expert_PK), "each layer has its own table"


def test_layers_are_told_how_often_tokens_occur_in_training_data():
    info, host = get_task("phonebook_256").info, host_settings({"name": "decoder", "dim": 16, "depth": 2, "heads": 2})
    data = get_task("phonebook_256").load("train")
    model = build_model(host, info, HashToken(), [4, 4], {"experts": 4}, seed=0)
    expected = [copy.deepcopy(layer) for layer in model.layers()]
    show_token_counts(model, info, data)
    counts_V = torch.bincount(data.inputs.flatten(), minlength=info.inputs.vocabulary)
    for layer, alone in zip(model.layers(), expected, strict=True):
        drawn_PK = alone.router.expert_PK.clone()
        alone.expect_tokens(counts_V)
        assert torch.equal(layer.router.expert_PK, alone.router.expert_PK)
        assert not torch.equal(layer.router.expert_PK, drawn_PK)


def test_hash_token_has_no_place_where_there_are_no_ids():
    with pytest.raises(HostError) as caught:
        check_claims(HashToken(), dataclasses.replace(SHAPE, vocabulary=None))
    assert caught.value.code == "no-token-ids"
    check_claims(HashToken(), SHAPE)


def test_only_the_oracle_is_shown_groups():
    info, host = get_task("clusters_near").info, host_settings({"name": "tokenwise", "dim": 16})
    for variant, shown in ((OracleRouter(), True), (RandomRouter(), False)):
        assert build_model(host, info, variant, [4], {"experts": 16}, seed=0).shows_groups is shown
    model = build_model(host, info, OracleRouter(), [4], {"experts": 16}, seed=0).eval()
    data = get_task("clusters_near").load("test")[:8]
    call = Call(groups_BT=data.groups_NT)
    model.run(data.inputs, call)
    chosen_BT = call.routings[0].chosen_BTK[..., 0]
    by_group = {int(g): int(e) for g, e in zip(data.groups_NT.flatten(), chosen_BT.flatten(), strict=True)}
    assert len(by_group) == len(set(by_group.values())) == CLUSTERS, "each group has an expert to itself"
    assert torch.equal(chosen_BT, data.groups_NT.apply_(by_group.__getitem__)), "and always the same"


def test_the_oracle_is_never_ranked():
    (request,) = ask("controls", variants=("oracle_router",)).requests
    plan = make_plan(request)
    assert "can only be a reference row" in plan.row("oracle_router").problem
    assert plan.row("oracle").problem == ""


@pytest.mark.parametrize("name", ["clusters_near", "clusters_far", "clusters_hidden"])
def test_labels_follow_from_the_first_half_and_the_cluster(name):
    task = get_task(name)
    data = task.load("validation")
    assert data.inputs.shape == (1_000, TOKENS, 32)
    assert set(data.groups_NT.unique().tolist()) == set(range(CLUSTERS))
    counts = torch.bincount(data.targets["label"].flatten(), minlength=LABELS)
    assert counts.min() > 0.05 * counts.sum()
    centre_CD = torch.stack([data.inputs[data.groups_NT == group][:, 16:].mean(0) for group in range(CLUSTERS)])
    assert torch.allclose(centre_CD.norm(dim=1), torch.full((CLUSTERS,), task.length), atol=0.02)
    assert torch.equal(data.inputs, task.load("validation").inputs)
    assert not torch.equal(data.inputs, task.load("test").inputs)
    first, second = (task.load("train").draw(4, torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(first.inputs, second.inputs)


def test_the_cluster_is_hidden_in_the_negative_control():
    near, hidden = (get_task(name).load("test") for name in ("clusters_near", "clusters_hidden"))
    assert torch.equal(near.groups_NT, hidden.groups_NT)
    assert torch.equal(near.targets["label"], hidden.targets["label"])
    assert torch.equal(near.inputs[..., :16], hidden.inputs[..., :16])
    assert hidden.inputs[..., 16:].abs().max() < 0.5


def test_tokens_of_the_tokenwise_host_do_not_hear_of_each_other():
    info, host = get_task("clusters_near").info, host_settings({"name": "tokenwise", "dim": 16, "depth": 2})
    assert [shape.dim for shape in layer_shapes(host, info)] == [16, 16]
    model = build_model(host, info, RandomRouter(), [4, 4], {"experts": 4}, seed=0).eval()
    x = torch.randn(2, TOKENS, 32)
    changed = x.clone()
    changed[:, 3] += 1
    before, after = (model.outputs(each)["label"] for each in (x, changed))
    assert before.shape == (2, TOKENS, LABELS)
    same = torch.tensor([token != 3 for token in range(TOKENS)])
    assert torch.equal(before[:, same], after[:, same])
    assert not torch.equal(before[:, 3], after[:, 3])


def accuracy(task, variant, settings):
    """Of a layer of 33,000 parameters after 200 steps."""
    task, host = get_task(task), host_settings({"name": "tokenwise"})
    budget = Budget("total", 33_000, layer_shapes(host, task.info))
    model = build_model(host, task.info, variant, solve(variant, budget, settings).sizes, settings, seed=0)
    recipe = Recipe(
        steps=200,
        batch=64,
        micro_batch=None,
        lr=2e-2,
        weight_decay=0.01,
        loss_weights={"balance": 0.01},
        precision="fp32",
        augment=None,
        seed=0,
    )
    train(model, task.load("train"), recipe, task.loss)
    return float(evaluate_task(model, task, task.load("test")).values["accuracy"].mean())


def test_the_controls_order_routers_where_there_is_something_to_route_by_and_not_where_there_is_nothing():
    rows = {
        "oracle": (OracleRouter(), {"experts": 16}),
        "learned": (SparseTopK(), {"experts": 16}),
        "steered": (RandomRouter(), {"experts": 16}),
        "detached": (RandomDetached(), {"experts": 16}),
    }
    found = {name: accuracy("clusters_near", *row) for name, row in rows.items()}
    assert found["oracle"] > found["learned"] + 0.02
    assert found["learned"] > found["steered"] + 0.05
    assert found["steered"] > found["detached"] + 0.05
    hidden = [accuracy("clusters_hidden", *rows[name]) for name in ("learned", "detached")]
    assert abs(hidden[0] - hidden[1]) < 0.03


def test_the_study_of_the_controls_judges_four_claims_about_its_suite():
    report = study_of(load_experiment("controls"))
    assert [claim.key for claim in report.claims] == [
        "oracle-above-learned",
        "learned-above-steered",
        "steered-above-detached",
        "nothing-where-hidden",
    ]
    suite = load_experiment("controls").suites[0]
    assert set(suite.row_names) >= {"oracle", "sparse_topk", "random_router", "random_detached"}
    data = {
        ("clusters_near", "oracle"): 0.96,
        ("clusters_near", "sparse_topk"): 0.92,
        ("clusters_far", "oracle"): 0.96,
        ("clusters_far", "sparse_topk"): 0.93,
    }

    class Made:
        parts = ()

        def values(self, part, kind, row, score, task):
            level = data.get((task, row))
            return (
                {}
                if level is None
                else {seed: level + 0.001 * seed * (1 if row == "oracle" else 2) for seed in range(3)}
            )

    assert report.claims[0].judge(Made()).verdict == "holds"
    data["clusters_far", "oracle"] = 0.90
    assert report.claims[0].judge(Made()).verdict == "holds", "0.04 above on one task and 0.03 below on the other"
    data["clusters_far", "oracle"] = 0.88
    assert report.claims[0].judge(Made()).verdict == "does not hold"
    del data["clusters_far", "oracle"]
    assert report.claims[0].judge(Made()).verdict == "undecided", "one of the two tasks has not run"
    assert report.claims[3].judge(Made()).verdict == "undecided", "it has not run"
