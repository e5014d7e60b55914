"""What single tokens tell of a router: information by hand and against chance, pairs, entropy, z, saturation."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from hand_made import DIGITS, Plain, Toy, digits, model_of, recipe, single_layer, split, train
from moebench.contract import Routing
from moebench.hosts.host import Call
from moebench.measures.scores.coactivation import co_activation
from moebench.measures.scores.information import expert_information
from moebench.measures.scores.tokens import routes_of, saturation, token_scores
from moebench.training.routes import WHEN, RouteWatch

E, T = 4, 4


def draw(high, *shape, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def hard(expert_NT, experts=E):
    return F.one_hot(expert_NT, experts).double()


class Sent(Plain):
    """Token t of input n goes to ``expert_NT``, its logits a constant apart; ``Dropping`` of the tests of experts."""

    def __init__(self, choose, experts=E):
        super().__init__()
        self.choose, self.num_experts, self.top_k = choose, experts, 1

    def route(self, x_BTD, context):
        chosen_BTK = self.choose(x_BTD)
        return Routing.sparse(chosen_BTK, torch.ones(chosen_BTK.shape), experts=self.num_experts)

    def router_logits(self, x_BTD):
        return torch.zeros(*x_BTD.shape[:2], self.num_experts) + math.log(3)


TOY = Toy((1, T, 2), 2)
LABELS = torch.arange(40) % 2


def scores_of(choose, data=None, task=TOY):
    model = single_layer(Sent(choose), image=(1, T, 2), classes=2, grid=2)
    numbered = torch.zeros(40, 1, T, 2) + torch.arange(40.0).view(40, 1, 1, 1)
    return token_scores(model, task, data or split(numbered, LABELS))[0]


def by_position(x_BTD):
    return torch.arange(T).expand(len(x_BTD), -1).unsqueeze(2)


def by_class(x_BTD):
    return (x_BTD[:, :, :1].long() % 2) + 2


def test_an_expert_for_each_position_tells_positions_and_no_class():
    found = scores_of(by_position)
    assert found["expert_information_position"] == pytest.approx(1, abs=0.06)
    assert found["expert_information_class"] == pytest.approx(0, abs=1e-9)


def test_an_expert_for_each_class_tells_classes_and_no_position():
    found = scores_of(by_class)
    assert found["expert_information_class"] == pytest.approx(1, abs=0.06)
    assert found["expert_information_position"] == pytest.approx(0, abs=1e-9)


def test_ids_and_groups_are_labels_where_a_task_has_them():
    assert "expert_information_token" not in scores_of(by_position)
    groups = split(torch.zeros(40, 1, T, 2), LABELS)
    found = scores_of(by_position, data=type(groups)(groups.inputs, groups.targets, torch.arange(T).expand(40, -1)))
    assert found["expert_information_group"] == pytest.approx(found["expert_information_position"], abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_chance_alone_tells_nothing_of_many_labels(seed):
    """64 experts and 200 ids on 2,000 tokens: 0.5 by chance."""
    share_NTE, label_NT = hard(draw(64, 100, 20, seed=seed), 64), draw(200, 100, 20, seed=seed + 9)
    assert expert_information(share_NTE, label_NT) == pytest.approx(0, abs=0.02)


def test_labels_of_whole_inputs_are_permuted_as_wholes():
    """Every input has an expert of its own, drawn blindly: its 32 tokens are one observation, not 32."""
    share_NTE, label_N1 = hard(draw(8, 30, 1).expand(-1, 32), 8), draw(8, 30, 1, seed=1)
    assert expert_information(share_NTE, label_N1) == pytest.approx(0, abs=0.1)
    assert expert_information(share_NTE, label_N1.expand(-1, 32)) > 0.2


def test_tokens_without_an_expert_are_left_out():
    share_NTE, label_NT = hard(draw(4, 50, 8)), draw(4, 50, 8)
    label_NT[:, ::2] = 3
    share_NTE[:, ::2] = 0
    assert expert_information(share_NTE, label_NT) == pytest.approx(1, abs=0.1)


def test_one_expert_or_one_label_tells_nothing():
    assert expert_information(hard(torch.zeros(5, 6, dtype=torch.long)), draw(3, 5, 6)) == 0
    assert expert_information(hard(draw(4, 5, 6)), torch.zeros(5, 6, dtype=torch.long)) == pytest.approx(0, abs=1e-9)


def choices(pairs, experts):
    return sum(F.one_hot(torch.tensor(each), experts) for each in zip(*pairs, strict=True))


def test_experts_in_fixed_pairs_act_together():
    """Of 16 experts each has one partner: log 15 of log 16, less what chance gives."""
    pairs = [(2 * (n % 8), 2 * (n % 8) + 1) for n in range(4000)]
    assert co_activation(choices(pairs, 16)) == pytest.approx(math.log(15) / math.log(16), abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_independent_experts_do_not_act_together_whatever_their_loads(seed):
    load_E = torch.tensor([8.0, 4, 4, 2, 2, 1, 1, 1])
    generator = torch.Generator().manual_seed(seed)
    weight_M = torch.stack([load_E[i] * load_E[j] for i, j in itertools.combinations(range(8), 2)])
    drawn = torch.multinomial(weight_M, 3000, replacement=True, generator=generator)
    pairs = [list(itertools.combinations(range(8), 2))[n] for n in drawn]
    assert co_activation(choices(pairs, 8)) == pytest.approx(0, abs=0.01)


def test_an_expert_that_all_tokens_choose_is_no_partnership():
    pairs = [(0, 1 + n % 7) for n in range(700)]
    assert co_activation(choices(pairs, 8)) == pytest.approx(0, abs=0.01)


def test_one_choice_a_token_has_no_pairs():
    assert co_activation(torch.eye(8, dtype=torch.long)) is None
    values, reasons = token_scores(
        single_layer(Sent(by_position), image=(1, T, 2), classes=2, grid=2),
        TOY,
        split(torch.zeros(8, 1, T, 2), LABELS[:8]),
    )
    assert values["co_activation"] is None
    assert "co_activation" in reasons


def test_entropy_and_z_of_logits_by_hand():
    """Four equal logits of log 3: entropy ln 4 over ln 4, and logsumexp log 12."""
    found = scores_of(by_position)
    assert found["router_entropy"] == pytest.approx(1)
    assert found["router_z"] == pytest.approx(math.log(12) ** 2)


def test_z_is_the_loss_of_that_name():
    model, data = model_of("sparse_topk", **{"loss/z": 0.1}).train(), digits("validation", 40)
    model.run(data.inputs, call := Call())
    expected = sum(float(routing.losses["z"].detach()) for routing in call.routings) / 2
    assert token_scores(model, DIGITS, data)[0]["router_z"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["hash_position", "soft_moe", "mu_moe_cp", "expert_choice", "dense"])
def test_what_a_layer_does_not_show_is_null_with_a_reason(name):
    values, reasons = token_scores(model_of(name), DIGITS, digits("validation", 40))
    assert set(reasons) == {key for key, value in values.items() if value is None}
    lacking = {"hash_position": {"router_entropy", "router_z"}, "mu_moe_cp": {"router_z"}}
    assert set(reasons) == lacking.get(name, set())
    assert ("co_activation" in values) == (name in ("hash_position", "expert_choice"))
    assert bool(values) == (name != "dense")


def watched(model, steps=16, **how):
    watch = RouteWatch(model, digits("validation"), steps)
    train(model, digits("train"), recipe(steps=steps, batch=32, lr=1e-2), routes=watch, **how)
    return watch


def test_a_frozen_table_is_saturated_from_the_start():
    found = saturation(watched(model_of("hash_position")))
    assert found == {f"saturation_{share}": 1.0 for share in WHEN}


def test_a_learned_router_settles():
    found = saturation(watched(model_of("sparse_topk"), steps=24))
    assert 0.2 < found["saturation_1_8"] < found["saturation_1_2"] < 1


def test_saturation_by_hand():
    """At the end a token has experts 0 and 1, after an eighth of the steps it had 1 and 2."""
    model = model_of("sparse_topk")
    watch = RouteWatch(model, digits("validation"), 8)
    for place, tensor in enumerate(watch.tensors.values()):
        tensor[:] = watch.look()[place]
    assert saturation(watch)["saturation_1_8"] == 1
    for place, tensor in enumerate(watch.tensors.values()):
        tensor[0] = False
        first = watch.look()[place].float().argmax(1)
        tensor[0, torch.arange(len(first)), first] = True
    assert saturation(watch) == {"saturation_1_8": 0.5, "saturation_1_4": 1, "saturation_1_2": 1}


@pytest.mark.parametrize("name", ["soft_moe", "dense"])
def test_there_is_no_saturation_where_no_token_chooses(name):
    watch = RouteWatch(model_of(name), digits("validation"), 8)
    assert (watch.tensors, saturation(watch)) == ({}, {})


class Noisy(Sent):
    """Draws random numbers in evaluation, too."""

    def route(self, x_BTD, context):
        torch.rand(7)
        return super().route(x_BTD, context)


@pytest.mark.parametrize("name", ["sparse_topk", "deepseek", "expert_choice"])
def test_watching_changes_no_digit_of_training(name):
    plain, seen = (model_of(name, budget=20_000) for _ in range(2))
    curves = train(plain, digits("train"), recipe(steps=8, batch=16, lr=1e-2))
    watch = RouteWatch(seen, digits("validation"), 8)
    again = train(seen, digits("train"), recipe(steps=8, batch=16, lr=1e-2), routes=watch)
    assert curves.loss_S.tolist() == again.loss_S.tolist()
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), seen.state_dict().values(), strict=True))


def test_looking_draws_no_random_number_and_leaves_the_mode():
    model = single_layer(Noisy(by_position), image=(1, T, 2), classes=2, grid=2).train()
    state = torch.get_rng_state()
    watch = RouteWatch(model, split(torch.zeros(8, 1, T, 2), LABELS[:8]), 1)
    watch.after(1)
    assert torch.equal(state, torch.get_rng_state())
    assert model.training


def test_a_model_without_experts_is_asked_about_one_input_and_no_more():
    model, sizes = model_of("dense"), []
    outputs = model.outputs
    model.outputs = lambda x: sizes.append(len(x)) or outputs(x)
    assert routes_of(model, digits("validation"), "fp32") == []
    assert sizes == [1]
