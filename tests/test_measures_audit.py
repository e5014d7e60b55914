"""The audit of a trained model: each kind of dishonest layer is found under its code, and honest ones are not."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hand_made import DIGITS, SMALL_BUDGET, SMALL_HOST, Built, digits, model_of
from moebench.budgets import count_flops
from moebench.budgets.count import count_layers
from moebench.contract import Layer, Routing
from moebench.errors import LayerError
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model, host_flops
from moebench.measures.audit import FLOPS, Audit
from moebench.measures.scores.final import scores_of
from moebench.plugins.find import find_variants
from moebench.tasks import get_task, load_part


class Honest(Layer):
    """A plain MLP."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.a, self.b = nn.Linear(shape.dim, 32), nn.Linear(32, shape.out_dim)

    def route(self, x_BTD, context):
        return Routing()

    def plain(self, x_BTD):
        return self.b(self.a(x_BTD).relu())

    def compute(self, x_BTD, routing, keep_BE=None):
        return self.plain(x_BTD)


class Noise(Honest):
    def compute(self, x_BTD, routing, keep_BE=None):
        return self.plain(x_BTD) + torch.randn(x_BTD.shape[-1])


class EveryThirdCall(Honest):
    calls = 0

    def compute(self, x_BTD, routing, keep_BE=None):
        EveryThirdCall.calls += 1
        return self.plain(x_BTD) * (1 + EveryThirdCall.calls % 3)


class MeanOfTheBatch(Honest):
    def compute(self, x_BTD, routing, keep_BE=None):
        return self.plain(x_BTD - x_BTD.mean(0))


class RoomOfTheBatch(Honest):
    """Each of four experts has room for a third of the batch's tokens: only inputs that are alike fill it."""

    def __init__(self, shape):
        super().__init__(shape)
        self.router = nn.Linear(shape.dim, 4, bias=False)

    def compute(self, x_BTD, routing, keep_BE=None):
        mine_NE = F.one_hot(self.router(x_BTD).argmax(-1).flatten(), 4)
        room = max(32, len(mine_NE) // 3)
        over_N = (mine_NE.cumsum(0) * mine_NE).sum(-1) > room
        return self.plain(x_BTD).masked_fill(over_N.view(*x_BTD.shape[:2], 1), 0)


class StatisticsInEvaluation(Honest):
    def __init__(self, shape):
        super().__init__(shape)
        self.register_buffer("mean", torch.zeros(1))

    def compute(self, x_BTD, routing, keep_BE=None):
        if len(x_BTD) > 16:
            self.mean.add_(x_BTD.mean())
        return self.plain(x_BTD)


class MoreWhenAsked(Honest):
    def compute(self, x_BTD, routing, keep_BE=None):
        y_BTO = self.plain(x_BTD)
        if torch.is_inference_mode_enabled() and len(x_BTD) > 1:
            y_BTO = y_BTO + self.plain(x_BTD)
        return y_BTO


class NotFinite(Honest):
    def compute(self, x_BTD, routing, keep_BE=None):
        return self.plain(x_BTD).masked_fill(x_BTD.abs() > 2, torch.inf)


class AnotherAnswerAlone(Honest):
    """To the first inputs that are alone in a batch, so many of them."""

    inputs, asked = 2, 0

    def compute(self, x_BTD, routing, keep_BE=None):
        alone = len(x_BTD) == 1 and torch.is_inference_mode_enabled()
        self.asked += alone
        return self.plain(x_BTD) * (-50 if alone and self.asked <= self.inputs else 1)


ELSEWHERE = {"block_moe", "conv_moe", "plain_block", "plain_conv", "hash_token", "oracle_router", "mu_moe_tr"}
"""Built-in layers that need another host or a larger budget."""


def model_with(make, seed=0):
    info, host = DIGITS.info, host_settings(SMALL_HOST)
    shapes = layer_shapes(host, info)
    model = build_model(host, info, Built(make), [1] * len(shapes), {}, seed)
    for layer in model.layers():
        nn.init.normal_(layer.b.weight)  # of the size that a trained layer's has
    return model, shapes


def audited(model, shapes, data=None, before=None, **how):
    layers = model.layers()
    flops = sum(count_flops(layer, shape) for layer, shape in zip(layers, shapes, strict=True))
    counts = {
        "model_params": sum(p.numel() for p in model.parameters()),
        "flops_per_input": flops,
        "model_flops_per_input": flops + host_flops(model, DIGITS.info),
    } | (before or {})
    audit = Audit(model, counts, **how)
    test = (data or digits("test")).sealed()
    return scores_of(model, DIGITS, digits("validation", 64).sealed(), test, "fp32", audit)


KINDS = {
    "repeat": Noise,
    "alone or repeat": EveryThirdCall,
    "alone": MeanOfTheBatch,
    "others": MeanOfTheBatch,
    "copies": RoomOfTheBatch,
    "state": StatisticsInEvaluation,
    "flops": MoreWhenAsked,
    "not_finite": NotFinite,
}


@pytest.mark.parametrize("code", KINDS)
def test_each_kind_is_found_under_its_code(code):
    found = {each["code"] for each in audited(*model_with(KINDS[code])).audit["found"]}
    assert found & set(code.split(" or "))


@pytest.mark.parametrize(("inputs", "codes"), [(1, []), (2, ["alone"])])
def test_another_answer_to_a_quarter_of_the_inputs_is_found_and_one_may_flip(monkeypatch, inputs, codes):
    monkeypatch.setattr(AnotherAnswerAlone, "inputs", inputs)
    found = audited(*model_with(AnotherAnswerAlone)).audit["found"]
    assert [each["code"] for each in found] == codes


def test_an_honest_layer_is_not_found_and_scores_as_without_an_audit():
    model, shapes = model_with(Honest)
    scores = audited(model, shapes)
    plain = scores_of(model, DIGITS, digits("validation", 64), digits("test"), "fp32")
    assert scores.audit["found"] == []
    assert scores.audit["flops_ratio"] == 1
    assert scores.values == plain.values
    assert plain.audit == {}


@pytest.mark.parametrize("count", [1, 3, 70, 257])
def test_any_number_of_inputs_is_audited(count):
    assert audited(*model_with(Honest), data=digits("test", count)).audit["found"] == []


@pytest.mark.parametrize("name", sorted(set(find_variants()) - ELSEWHERE))
def test_nothing_is_found_in_built_in_layers(name):
    model = model_of(name, budget=4 * SMALL_BUDGET)
    shapes = layer_shapes(host_settings(SMALL_HOST), DIGITS.info)
    assert count_layers(model.layers()).total
    found = [each["code"] for each in audited(model, shapes).audit["found"]]
    # The experts of a token become as few as are quoted in training alone.
    assert found == (["flops"] if any(layer.number_settles for layer in model.layers()) else [])


def test_parameters_that_come_with_training_are_found():
    found = audited(*model_with(Honest), before={"model_params": 7}).audit["found"]
    assert [each["code"] for each in found] == ["parameters"]


class Thief(Honest):
    """Looks for labels in the frames above it."""

    swallows = False

    def compute(self, x_BTD, routing, keep_BE=None):
        frame = sys._getframe()
        while frame := frame.f_back:
            for value in [*frame.f_locals.values()]:
                if type(value).__name__ == "Split":
                    try:
                        label_N = value.targets["class"]
                    except LayerError:
                        if not self.swallows:
                            raise
                        continue
                    if len(label_N) == len(x_BTD):
                        return self.plain(x_BTD) * 0 + 100 * F.one_hot(label_N, self.shape.out_dim)[:, None]
        return self.plain(x_BTD)


def test_labels_are_out_of_reach_while_a_model_answers():
    with pytest.raises(LayerError) as caught:
        audited(*model_with(Thief))
    assert caught.value.code == "reads-labels"


def test_a_thief_that_swallows_the_refusal_gets_nothing(monkeypatch):
    monkeypatch.setattr(Thief, "swallows", True)
    thief, honest = (audited(*model_with(make)).values["test_accuracy"] for make in (Thief, Honest))
    assert thief == honest


def test_labels_that_lie_open_are_seen_to_matter():
    """The swap of labels bites: a thief that finds them answers otherwise with others."""
    model, _ = model_with(Thief)
    audit = Audit(model, {})
    scores = scores_of(model, DIGITS, digits("validation", 64), digits("test"), "fp32", audit)
    assert "labels" in {each["code"] for each in scores.audit["found"]}


class LoadsData(Honest):
    def compute(self, x_BTD, routing, keep_BE=None):
        load_part(get_task("digits"), "test")
        return self.plain(x_BTD)


def test_data_are_not_loaded_while_a_model_answers():
    with pytest.raises(LayerError) as caught:
        audited(*model_with(LoadsData))
    assert caught.value.code == "reads-labels"


def test_sealed_targets_are_those_that_were_sealed():
    data = digits("test", 50)
    sealed = data.sealed()
    assert torch.equal(sealed.targets["class"], data.targets["class"])
    assert torch.equal(sealed[3:9].targets["class"], data.targets["class"][3:9])
    picked = torch.tensor([4, 1])
    assert torch.equal(sealed[picked][1:].targets["class"], data.targets["class"][[1]])
    assert list(sealed.targets) == ["class"]


def test_the_limit_of_flops_is_above_what_loads_vary_by():
    assert FLOPS == 1.2


def test_other_labels_come_with_the_same_groups():
    """An oracle is shown groups, and may answer by them."""
    data = digits("test", 80)
    grouped = type(data)(data.inputs, data.targets, torch.arange(80)[:, None]).sealed()
    model, _ = model_with(Honest)
    parts = Audit(model, {}).questions(grouped, 80)
    whole = [part for part in parts if torch.equal(part.inputs, data.inputs)]
    assert len(whole) == 3
    assert all(torch.equal(part.groups_NT, grouped.groups_NT) for part in whole)
    other = [part for part in whole if not torch.equal(part.targets["class"], data.targets["class"])]
    assert len(other) == 1


def test_codes_of_categories_stay_codes_and_numbers_do_not():
    """Embeddings have no row for another one: a copy that lies near it, or a louder one."""
    data = digits("test", 80)
    codes_BF, numbers_BF = torch.randint(3, (80, 2)).float(), torch.randn(80, 3)
    rows = type(data)(torch.cat([codes_BF, numbers_BF], 1), data.targets).sealed()
    model, _ = model_with(Honest)
    parts = Audit(model, {}, codes=2).questions(rows, 80)
    assert all(torch.isin(part.inputs[:, :2], torch.arange(3.0)).all() for part in parts)
    known = numbers_BF.flatten()
    changed = [part for part in parts if not torch.isin(part.inputs[:, 2:], known).all()]
    assert len(changed) == 5, "one beside others, four after copies"
