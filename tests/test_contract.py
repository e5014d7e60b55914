"""The contract: what follows from a routing, what a variant's signature says, what a layer has by default."""

import re

import pytest
import torch
from torch import nn

from moebench.contract import (
    Choice,
    Context,
    Layer,
    LayerShape,
    LogUniform,
    Routing,
    Space,
    Variant,
)

SHAPE = LayerShape(dim=4, out_dim=4, tokens=2)

# One input of two tokens. Token 0 has expert 0 twice (0.5 and 0.2), and expert 2; of token 1 only the first counts.
CHOSEN_BTK = torch.tensor([[[0, 0, 2], [1, 2, 0]]])
WEIGHT_BTK = torch.tensor([[[0.5, 0.2, 0.3], [0.6, 0.3, 0.1]]])
KEPT_BTK = torch.tensor([[[True, True, True], [True, False, False]]])


def test_a_sparse_routing_tells_mass_weights_load_and_drops():
    weight_BTK = WEIGHT_BTK.clone().requires_grad_()
    routing = Routing.sparse(CHOSEN_BTK, weight_BTK, experts=4, kept_BTK=KEPT_BTK, losses={"z": torch.ones(())})
    torch.testing.assert_close(routing.combine_BTE, torch.tensor([[[0.7, 0, 0.3, 0], [0, 0.6, 0, 0]]]))
    assert routing.combine_BTE.requires_grad
    torch.testing.assert_close(routing.mass_BE, torch.tensor([[0.7, 0.6, 0.3, 0]]))
    assert not routing.mass_BE.requires_grad
    assert routing.load_BE.tolist() == [[2, 1, 1, 0]]
    assert (routing.drop_rate_B.tolist(), routing.coverage_B.tolist()) == ([2 / 6], [1.0])
    assert list(routing.losses) == ["z"]


def test_without_a_word_all_choices_count():
    routing = Routing.sparse(CHOSEN_BTK, WEIGHT_BTK, experts=3)
    torch.testing.assert_close(routing.mass_BE, torch.tensor([[0.8, 0.6, 0.6]]))
    assert routing.load_BE.tolist() == [[3, 1, 2]]
    assert (routing.drop_rate_B.tolist(), routing.coverage_B.tolist()) == ([0.0], [1.0])


def test_a_routing_by_experts_has_weights_by_token():
    taken_BEc, weight_BEc = torch.tensor([[[0, 2], [2, 1]]]), torch.tensor([[[0.5, 0.25], [0.75, 0.0]]])
    routing = Routing.by_expert(taken_BEc, weight_BEc, tokens=3)
    torch.testing.assert_close(routing.combine_BTE, torch.tensor([[[0.5, 0], [0, 0], [0.25, 0.75]]]))
    torch.testing.assert_close(routing.mass_BE, torch.tensor([[0.75, 0.75]]))
    assert (routing.num_experts, routing.load_BE, routing.drop_rate_B) == (2, None, None)


def test_soft_weights_of_several_slots_add_up_by_expert():
    combine_BTS = torch.tensor([[[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]])
    routing = Routing.soft(combine_BTS, experts=2)
    torch.testing.assert_close(routing.combine_BTE, torch.tensor([[[0.3, 0.7], [0.7, 0.3]]]))
    torch.testing.assert_close(routing.mass_BE, torch.tensor([[1.0, 1.0]]))
    assert Routing.soft(combine_BTS).num_experts == 4
    assert Routing.soft(combine_BTS).combine_BTE is combine_BTS


def test_a_routing_of_no_experts_tells_nothing():
    routing = Routing()
    told = (routing.mass_BE, routing.combine_BTE, routing.load_BE, routing.drop_rate_B, routing.coverage_B)
    assert told == (None,) * 5
    assert (routing.losses, routing.num_experts) == ({}, 0)


def test_padding_is_not_kept():
    assert Context().kept(CHOSEN_BTK) is None
    kept_BTK = Context(torch.tensor([[True, False]])).kept(CHOSEN_BTK)
    assert kept_BTK.tolist() == [[[True] * 3, [False] * 3]]


class Bank(nn.Module):
    count = 3

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3, 2))

    def expert_parameters(self):
        return {"w": 0}


class Banked(Layer):
    def __init__(self):
        super().__init__()
        self.experts = Bank()


def test_a_layer_has_the_experts_of_its_bank_unless_it_says_otherwise():
    assert (Banked().num_experts, Banked().expert_parameters()) == (3, {"experts.w": 0})
    assert (Layer().num_experts, Layer().expert_parameters(), Layer().top_k) == (0, {}, None)
    layer = Layer()
    layer.num_experts = 5
    assert layer.num_experts == 5


@pytest.mark.parametrize("method", ["route", "compute"])
def test_a_layer_without_a_step_says_which(method):
    class Half(Layer):
        pass

    with pytest.raises(TypeError, match=rf"^Half must define {method}\(x_BTD, "):
        getattr(Half(), method)(torch.zeros(1, 2, 4), None)


class Mine(Variant):
    name = "mine"
    tune = {
        "experts": (16, 8, 4),
        "wide": (3, 5),
        "loss/balance": LogUniform(1e-3, 1e-1, default=1e-2),
        "loss/z": (0.0,),
    }

    def build(self, shape, size, *, experts=8, top_k=2, wide=None, losses=("balance",)):
        self.asked = {"experts": experts, "top_k": top_k, "wide": wide, "losses": losses}
        return Layer()


class Derived(Mine):
    name = "derived"

    def build(self, shape, size, *, slots=1, top_k=1, **settings):
        return super().build(shape, size, top_k=top_k, **settings)


def test_the_space_is_the_signature_tuned():
    space = Mine().space(SHAPE)
    assert isinstance(space, Space)
    assert list(space) == ["experts", "top_k", "wide", "loss/balance", "loss/z"]
    assert space["experts"] == Choice((16, 8, 4), 8)
    assert space["top_k"] == Choice((2,))
    assert space["wide"] == Choice((3, 5), 3)
    assert space.defaults() == {"experts": 8, "top_k": 2, "wide": 3, "loss/balance": 1e-2, "loss/z": 0.0}


def test_two_stars_stand_for_the_settings_of_the_base():
    space = Derived().space(SHAPE)
    assert list(space) == ["experts", "top_k", "wide", "slots", "loss/balance", "loss/z"]
    assert space["top_k"] == Choice((1,))
    variant = Derived()
    variant.layer(SHAPE, 4, {"experts": 4, "slots": 2})
    assert variant.asked == {"experts": 4, "top_k": 1, "wide": None, "losses": ("balance",)}


@pytest.mark.parametrize(
    ("settings", "losses"),
    [
        ({}, ("balance",)),
        ({"experts": 4}, ("balance",)),
        ({"loss/balance": 0.0}, ()),
        ({"loss/z": 0.1, "loss/balance": 0.0}, ("z",)),
        ({"loss/z": 0.1, "loss/balance": 0.2}, ("z", "balance")),
    ],
)
def test_build_hears_which_losses_have_a_weight(settings, losses):
    variant = Mine()
    variant.layer(SHAPE, 4, settings)
    assert variant.asked["losses"] == losses


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"expert": 4}, "mine has no setting 'expert'; did you mean 'experts'?"),
        ({"q": 4}, "mine has no setting 'q'; it has: experts, loss/balance, loss/z, top_k, wide"),
        ({"loss/zz": 0.1}, "mine has no setting 'loss/zz'; did you mean 'loss/z'?"),
        ({"losses": ("z",)}, "mine has no setting 'losses'; did you mean 'loss/z'?"),
        ({"loss/z": -1}, "mine: loss/z must be a number of at least 0, not -1"),
        ({"loss/z": True}, "mine: loss/z must be a number of at least 0, not True"),
        ({"loss/z": float("nan")}, "mine: loss/z must be a number of at least 0, not nan"),
    ],
)
def test_a_wrong_setting_is_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Mine().layer(SHAPE, 4, settings)


def test_what_is_no_layer_is_named():
    class Other(Variant):
        name = "other"

        def build(self, shape, size):
            return 7

    with pytest.raises(ValueError, match=r"^other: build\(\) gave 7, not a moebench\.contract\.Layer$"):
        Other().layer(SHAPE, 4, {})


def test_views_are_in_a_record_only_where_there_are_any():
    assert "views" not in SHAPE.to_json()
    assert LayerShape(dim=4, out_dim=4, tokens=2, views=("a", "b")).to_json()["views"] == ("a", "b")
