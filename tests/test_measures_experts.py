"""What single experts do: cosine of outputs, polysemanticity, drops and coverage."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hand_made import (
    DIGITS,
    Plain,
    Table,
    Toy,
    always,
    answer,
    digits,
    model_of,
    one_hots,
    own_expert,
    single_layer,
    split,
)
from moebench.contract import Context, Routing
from moebench.hosts.host import Call
from moebench.measures.scores.experts import (
    POLYSEMANTICITY_EXPERTS,
    POLYSEMANTICITY_INPUTS,
    _looked_at,
    _met,
    always_on_share,
    output_cosine,
    polysemanticity,
    weight_cosine,
)
from moebench.measures.scores.final import routing_summary
from moebench.measures.scores.information import max_violation
from moebench.tasks import get_task
from moebench.training.evaluate import evaluate_task

C = 8
TOY = Toy((1, 1, C), C)
BALANCED = one_hots(list(range(1, C)) * 5, C)  # class 0, which silence stands for, is never right


def hosted(layer, **settings):
    return single_layer(layer, image=(1, 1, C), classes=C, head=torch.eye(C), grid=1, **settings)


def cosine_of(value_EO, mass=(1.0, 2.0)):
    return output_cosine(hosted(Table(always(*mass), value_EO)), BALANCED)


V = torch.arange(1.0, C + 1)


def test_identical_experts_have_cosine_1_whatever_their_weights():
    assert cosine_of(torch.stack([V, V])) == pytest.approx(1)
    assert cosine_of(torch.stack([V, 3 * V, V]), (0.1, 0.7, 5.0)) == pytest.approx(1)


def test_opposite_experts_have_cosine_minus_1_and_unrelated_ones_0():
    assert cosine_of(torch.stack([V, -V])) == pytest.approx(-1)
    assert cosine_of(torch.eye(C)[:2]) == pytest.approx(0)
    assert cosine_of(torch.stack([V, V, -V]), (1.0, 1.0, 1.0)) == pytest.approx(-1 / 3)


def test_silent_experts_are_left_out():
    assert cosine_of(torch.stack([V, V, torch.zeros(C)]), (1.0, 1.0, 1.0)) == pytest.approx(1)
    assert cosine_of(torch.stack([V, V, -V]), (1.0, 1.0, 0.0)) == pytest.approx(1)


def test_experts_that_never_meet_on_a_token_have_no_cosine():
    assert output_cosine(hosted(Table(own_expert, torch.eye(C))), BALANCED) is None
    assert output_cosine(hosted(Plain()), BALANCED) is None


class TakesTurns(Table):
    """Expert 0 acts on even tokens, expert 1 on odd ones."""

    def compute(self, x_BTD, routing, keep_BE=None):
        keep_BE = torch.ones_like(routing.mass_BE) if keep_BE is None else keep_BE
        turn_T = torch.arange(x_BTD.shape[1]) % 2
        return keep_BE.float()[:, turn_T].unsqueeze(2) * x_BTD


def test_experts_on_different_tokens_of_an_input_do_not_meet():
    layer = TakesTurns(always(1.0, 1.0), torch.zeros(2, 2))
    model = single_layer(layer, image=(1, 4, 2), classes=2, grid=2)
    assert output_cosine(model, split(torch.ones(3, 1, 4, 2), torch.zeros(3, dtype=torch.long))) is None


class Beside(Table):
    """With a part that always acts, ``always_O``."""

    def __init__(self, mass_of, value_EO, always_O):
        super().__init__(mass_of, value_EO)
        self.always_O = always_O

    def compute(self, x_BTD, routing, keep_BE=None):
        return super().compute(x_BTD, routing, keep_BE) + self.always_O


@pytest.mark.parametrize("loud", [0.0, 1.0, 1000.0])
def test_what_always_acts_is_no_part_of_the_cosine(loud):
    layer = Beside(always(1.0, 1.0, 1.0), torch.stack([V, V, -V]), loud * torch.ones(C))
    assert output_cosine(hosted(layer), BALANCED) == pytest.approx(-1 / 3, abs=1e-3)


def test_the_share_of_what_always_acts_by_hand():
    """|3 V| of |3 V| + |V|; 0 where nothing does."""
    layer = Beside(always(1.0), V.unsqueeze(0), 3 * V)
    assert always_on_share(hosted(layer), BALANCED) == pytest.approx(3 / 4)
    assert always_on_share(hosted(Table(always(1.0), V.unsqueeze(0))), BALANCED) == 0


@pytest.mark.parametrize("name", ["deepseek", "smola"])
def test_untrained_experts_beside_a_part_that_always_acts_are_unlike(name):
    """With the part that always acts in them, the cosines are above 0.6."""
    model = model_of(name, budget=30_000)
    assert output_cosine(model, digits("test")) == pytest.approx(0, abs=0.03)
    assert always_on_share(model, digits("test")) > 0.5


@pytest.mark.parametrize("name", ["sparse_topk", "soft_moe", "expert_choice", "mu_moe_cp", "modse", "cosine_topk"])
def test_nothing_always_acts_in_a_layer_of_experts_alone(name):
    assert always_on_share(model_of(name, budget=30_000), digits("test", 20)) == 0


def test_experts_are_routed_as_in_the_pass_itself():
    """Where a table sends tokens by their ids, a layer asked alone would send them by place."""
    task = get_task("phonebook_256")
    data = task.load("test")[:8]
    host = {"name": "decoder", "dim": 16, "depth": 1, "heads": 2}
    model = model_of("hash_token", host=host, task="phonebook_256", budget=30_000)
    (layer,), whole = model.layers(), Call(keep_inputs=True)
    with torch.no_grad():
        model.run(data.inputs, whole)
    apart = layer.route(whole.inputs[0], Context())
    assert not torch.equal(apart.chosen_BTK, whole.routings[0].chosen_BTK)
    (met,) = _met(model.eval(), data)
    assert torch.equal(met[2].chosen_BTK, whole.routings[0].chosen_BTK)


def test_weights_are_compared_by_every_pair_of_experts_of_one_size():
    model = model_of("sparse_topk")
    cosines = []
    for layer in model.layers():
        rows = [p.detach().flatten(1) for n, p in layer.named_parameters() if n in layer.expert_parameters()]
        stack = torch.cat(rows, 1).double()
        cosines += [F.cosine_similarity(stack[i], stack[j], dim=0) for i in range(8) for j in range(i)]
    assert weight_cosine(model) == pytest.approx(float(torch.stack(cosines).mean()), abs=1e-9)
    with torch.no_grad():
        for layer in model.layers():
            for name in layer.expert_parameters():
                layer.get_parameter(name).copy_(layer.get_parameter(name)[:1].expand_as(layer.get_parameter(name)))
    assert weight_cosine(model) == pytest.approx(1)
    assert abs(weight_cosine(model_of("modse"))) < 0.1
    assert weight_cosine(model_of("dense")) is None


@pytest.mark.parametrize("name", ["soft_moe", "sparse_topk"])
def test_cosine_agrees_with_every_pair_taken_by_itself(name):
    model, data = model_of(name).eval(), digits("test", 5)
    call, cosines = Call(keep_inputs=True), []
    with torch.no_grad():
        model.run(data.inputs, call)
        for layer, x_BTD in zip(model.layers(), call.inputs, strict=True):
            said = []
            for expert in range(8):
                keep_BE = (torch.arange(8) == expert).expand(5, -1)
                said.append(layer.compute(x_BTD, layer.route(x_BTD, Context()), keep_BE).flatten(0, 1).double())
            for i in range(8):
                for j in range(i):
                    both_N = said[i].any(1) & said[j].any(1)
                    cosines.append(F.cosine_similarity(said[i][both_N], said[j][both_N], dim=1))
    assert output_cosine(model, data) == pytest.approx(float(torch.cat(cosines).mean()), abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_looking_at_experts_leaves_the_models_mode(training):
    model = model_of("sparse_topk").train(training)
    output_cosine(model, digits("test", 5))
    routing_summary(model, digits("test", 5))
    polysemanticity(model, DIGITS, digits("test", 5), evaluate_task(model, DIGITS, digits("test", 5)))
    assert {module.training for module in model.modules()} == {training}


def poly(layer, data=BALANCED, **settings):
    model = hosted(layer, **settings)
    return polysemanticity(model, TOY, data, evaluate_task(model, TOY, data))


def test_experts_of_one_class_each_have_polysemanticity_0():
    assert poly(Table(own_expert, torch.eye(C))) == 0


def test_experts_of_two_classes_each_by_hand():
    """d = (1/2, 1/2), so that its distance to one class is sqrt(1/2); the classes 1 | 2, 3 | 4, 5 | 6, 7."""

    def shared_expert(x_BTD):
        return x_BTD[:, 0].view(-1, C // 2, 2).sum(2)

    layer = Table(shared_expert, torch.zeros(C // 2, C), echo=1.0)
    assert poly(layer) == pytest.approx(3 * math.sqrt(1 / 2) / 4)


def test_the_relative_change_counts_and_an_expert_that_helps_may_also_hurt():
    """Without expert 1, class 1 falls from 1 to 0 and class 2 rises from 1/2 to 1: d = (1/2, 1/2)."""
    data = one_hots([1, 1, 2, 2], C)
    data.inputs[2, 0, 0] = torch.eye(C)[2] + torch.eye(C)[1]  # meets both experts; expert 1 speaks louder
    layer = Table(own_expert, torch.stack([(1 + (c == 1)) * row for c, row in enumerate(torch.eye(C))]))
    model = hosted(layer)
    before = answer(model, data).logits_NC.argmax(1)
    assert before.tolist() == [1, 1, 1, 2]
    # Expert 1: class 1 loses all (1), class 2 doubles (1). Expert 2: class 2 loses all, class 1 nothing.
    assert polysemanticity(model, TOY, data, evaluate_task(model, TOY, data)) == pytest.approx(math.sqrt(1 / 2) / 2)


def test_experts_that_change_nothing_give_none():
    assert poly(Table(own_expert, torch.zeros(C, C)), residual=True) is None
    assert poly(Plain()) is None


@pytest.mark.parametrize(("experts", "looked_at"), [(8, 8), (64, 32), (100, 32)])
def test_only_the_first_thousand_inputs_and_so_many_experts_are_looked_at(experts, looked_at):
    layer = Table(lambda x_BTD: torch.ones(len(x_BTD), experts), torch.zeros(experts, C), echo=1.0)
    model, data = hosted(layer), one_hots([1] * 1200, C)
    whole = evaluate_task(model, TOY, data)
    layer.inputs_met = 0
    polysemanticity(model, TOY, data, whole)
    assert layer.inputs_met == looked_at * 1000 == looked_at * POLYSEMANTICITY_INPUTS


def test_the_experts_looked_at_are_evenly_spaced_and_never_twice():
    assert _looked_at(8) == list(range(8))
    assert _looked_at(64) == list(range(0, 64, 2))
    assert len(set(_looked_at(100))) == POLYSEMANTICITY_EXPERTS
    assert max(_looked_at(100)) < 100


def test_inputs_that_do_not_meet_an_expert_are_not_passed_again():
    layer = Table(own_expert, torch.eye(C))
    model = hosted(layer)
    whole = evaluate_task(model, TOY, BALANCED)
    layer.inputs_met = 0
    assert polysemanticity(model, TOY, BALANCED, whole) == 0
    assert layer.inputs_met == len(BALANCED)


class Dropping(Plain):
    """Two choices a token; of every input the given ones found room."""

    def __init__(self, kept_TK):
        super().__init__()
        self.kept_TK = torch.tensor(kept_TK)

    def route(self, x_BTD, context):
        self.modes.append(self.training)
        kept_BTK = self.kept_TK.expand(len(x_BTD), -1, -1)
        chosen_BTK = torch.zeros_like(kept_BTK, dtype=torch.long)
        return Routing.sparse(chosen_BTK, torch.ones(kept_BTK.shape), experts=2, kept_BTK=kept_BTK)


def test_drop_rate_and_coverage_by_hand():
    layer = Dropping([[True, True], [True, False], [False, False], [True, False]])
    model = single_layer(layer, image=(1, 4, 2), classes=2, grid=2).train()
    data = split(torch.zeros(7, 1, 4, 2), torch.zeros(7, dtype=torch.long))
    assert routing_summary(model, data, batch=3) == {
        "drop_rate": 4 / 8,
        "token_coverage": 3 / 4,
        "acting_experts": 1.0,  # 4 choices of 4 tokens
        "max_violation_counts": 1.0,  # expert 0 has every choice of two experts
    }
    assert layer.modes == [False] * 3


def test_drops_of_a_collapsed_router_with_room_for_one_token_an_expert():
    """4 tokens all choose experts 0 and 1, each of which has ceil(4 x 2 / 8) = 1 place: 2 of 8 choices stay."""
    model = model_of("sparse_topk", capacity=1.0)
    for layer in model.layers():
        for parameter in layer.router.parameters():
            nn.init.zeros_(parameter)
    found = routing_summary(model, digits("test", 20))
    assert found == {"drop_rate": 0.75, "token_coverage": 0.25, "acting_experts": 0.5, "max_violation_counts": 3.0}


def test_dropless_routing_drops_nothing_and_soft_routing_has_no_drops():
    data = digits("test", 20)
    found = routing_summary(model_of("sparse_topk"), data)
    assert found.pop("max_violation_counts") > 0
    assert found == {"drop_rate": 0.0, "token_coverage": 1.0, "acting_experts": 2.0}
    assert routing_summary(model_of("soft_moe"), data) == {}


def test_counts_weigh_every_choice_alike_and_mass_does_not():
    """Both experts are chosen as often, with weights 0.9 and 0.1."""
    layer = Dropping([[True, True]])
    layer.route = lambda x_BTD, context: Routing.sparse(
        torch.tensor([[[0, 1]]]).expand(len(x_BTD), 4, -1),
        torch.tensor([0.9, 0.1]).expand(len(x_BTD), 4, -1),
        experts=2,
    )
    model = single_layer(layer, image=(1, 4, 2), classes=2, grid=2)
    data = split(torch.zeros(7, 1, 4, 2), torch.zeros(7, dtype=torch.long))
    assert routing_summary(model, data)["max_violation_counts"] == 0
    assert max_violation(answer(model, data).masses[0]) == pytest.approx(0.8)


def test_experts_are_asked_in_the_precision_of_the_run():
    """On a GPU float32 would be other experts' numbers, and slow."""
    types = []

    class Typed(Table):
        def compute(self, x_BTD, routing, keep_BE=None):
            types.append((x_BTD[..., :1] @ x_BTD[..., :1].mT).dtype)
            return super().compute(x_BTD, routing, keep_BE)

    model = hosted(Typed(always(1.0, 2.0), torch.stack([V, 3 * V])))
    for measure in (output_cosine, always_on_share):
        for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
            types.clear()
            measure(model, BALANCED, precision=precision)
            assert len(types) > 1
            assert set(types) == {dtype}
