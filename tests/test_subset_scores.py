"""Rival scores of an expert: by hand, and which layer can give which."""

import pytest
import torch

from hand_made import Plain, Table, answer, digits, model_of
from moebench.contract import Context, Routing
from moebench.errors import UsageError
from moebench.hosts.host import Call, Visit
from moebench.measures.subset.scores import NOTES, SCORES, mean_mass, score_named, scores_of
from moebench.training.evaluate import Evaluation

# One input of two tokens, three experts: the order of the experts differs from score to score.
COMBINE_BTE = torch.tensor([[[0.5, 0.4, 0.1], [0.0, 0.4, 0.6]]])
DISPATCH_BTE = torch.tensor([[[0.9, 0.2, 0.3], [0.1, 0.8, 0.7]]])
NORM_BE = torch.tensor([[1.0, 3.0, 2.0]])
X_BTD = torch.zeros(1, 2, 4)


class Weighed(Table):
    """Its weights are those above."""

    def route(self, x_BTD, context):
        return Routing.soft(COMBINE_BTE)

    def dispatch_weights(self, routing):
        return DISPATCH_BTE

    def contribution_norms(self, x_BTD, routing):
        assert x_BTD is X_BTD
        return NORM_BE


def visit(layer=None, index=0):
    layer = layer or Weighed(lambda x_BTD: COMBINE_BTE.sum(1), torch.zeros(3, 4))
    return Visit(index, layer, X_BTD, layer.route(X_BTD, Context()))


FITTED = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 2.0, 1.0])]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("combine_sum", [0.5, 0.8, 0.7]),
        ("combine_max", [0.5, 0.4, 0.6]),
        ("combine_norm", [1.0, 3.0, 2.0]),
        ("dispatch", [0.9, 0.8, 0.7]),
        ("static", [1.0, 2.0, 3.0]),
        ("worst", [-0.5, -0.8, -0.7]),
    ],
)
def test_each_score_by_hand(name, expected):
    score_BE = score_named(name, fitted=FITTED)(visit())
    assert torch.allclose(score_BE, torch.tensor([expected]))


def test_static_is_the_layers_own_for_every_input():
    layer = Table(lambda x_BTD: torch.rand(5, 3), torch.zeros(3, 4))
    for index in (0, 1):
        assert torch.equal(score_named("static", fitted=FITTED)(visit(layer, index)), FITTED[index].expand(5, 3))


def test_static_that_was_not_fitted_is_refused():
    with pytest.raises(UsageError) as caught:
        score_named("static")(visit())
    assert caught.value.code == "static-not-fitted"


def test_random_is_of_its_generator_by_default_of_seed_0():
    seeded = torch.Generator().manual_seed(0)
    assert torch.equal(score_named("random")(visit()), score_named("random", generator=seeded)(visit()))
    drawn_again = score_named("random", generator=seeded)(visit())
    assert not torch.equal(drawn_again, score_named("random")(visit()))
    assert drawn_again.shape == (1, 3)


class Hidden(Plain):
    """As a wrapped module: no routing to be seen."""


@pytest.mark.parametrize("name", SCORES)
def test_a_layer_without_experts_can_give_no_score(name):
    with pytest.raises(UsageError) as caught:
        score_named(name, fitted=FITTED)(visit(Hidden()))
    assert caught.value.code == "layer-lacks-score"
    assert caught.value.facts == {"layer": "Hidden", "score": name, "able": []}


def test_a_score_that_a_layer_cannot_give_is_refused_with_those_it_can():
    layer = Table(lambda x_BTD: COMBINE_BTE.sum(1), torch.zeros(3, 4))
    with pytest.raises(UsageError) as caught:
        score_named("dispatch")(visit(layer, index=1))
    assert caught.value.facts["able"] == ["combine_sum", "combine_max", "combine_norm", "static", "random", "worst"]


@pytest.mark.parametrize(
    ("name", "missing"), [("soft_moe", set()), ("sparse_topk", {"dispatch"}), ("dense", set(SCORES))]
)
def test_what_built_in_layers_can_give(name, missing):
    model, call = model_of(name).eval(), Call(keep_inputs=True)
    with torch.no_grad():
        model.run(digits("test", 3).inputs, call)
        for index, layer in enumerate(model.layers()):
            here = Visit(index, layer, call.inputs[index], call.routings[index])
            assert set(scores_of(here)) == set(SCORES) - missing


@pytest.mark.parametrize("name", ["soft_moe", "sparse_topk"])
def test_scores_of_built_in_layers_agree_with_single_expert_masks_and_mass(name):
    """Both from the outside: the norms of what each expert adds alone, and the sum of what combine_max looks at."""
    model, call = model_of(name).eval(), Call(keep_inputs=True)
    with torch.no_grad():
        model.run(digits("test", 4).inputs, call)
        layer, x_BTD, routing = model.layers()[0], call.inputs[0], call.routings[0]
        here = Visit(0, layer, x_BTD, routing)
        alone_EBTO = torch.stack(
            [layer.compute(x_BTD, routing, (torch.arange(8) == e).expand(4, -1)) for e in range(8)]
        )
        assert torch.allclose(score_named("combine_norm")(here), alone_EBTO.norm(dim=3).sum(2).T, atol=1e-5)
        combine_BTE = routing.combine_BTE
        assert torch.allclose(combine_BTE.sum(1), score_named("combine_sum")(here), atol=1e-5)
        assert torch.equal(score_named("combine_max")(here), combine_BTE.max(1).values)


def test_notes_are_of_scores():
    assert set(NOTES) <= set(SCORES)
    assert "computes every expert" in NOTES["combine_norm"]


def test_mean_mass_is_the_mean_over_inputs_per_layer():
    mass_NE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 2.0]])
    means = mean_mass(Evaluation({}, (mass_NE, 2 * mass_NE)))
    assert [mean_E.tolist() for mean_E in means] == [[0.5, 1.0], [1.0, 2.0]]
    assert mean_mass(Evaluation({}, (mass_NE, None))) is None
    assert mean_mass(answer(model_of("dense"), digits("test", 3))) is None
