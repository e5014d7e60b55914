"""Smaller models: how many experts each layer keeps, what they met, recovery, sizes."""

from __future__ import annotations

import copy
import dataclasses
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from hand_made import DIGITS, answer, digits, installed, model_of, recipe, split, train
from moebench.contract import LayerShape
from moebench.errors import PluginError, UsageError
from moebench.hosts.host import Call
from moebench.measures import Subject
from moebench.measures.compressed import compressed
from moebench.measures.compression import load_compressor
from moebench.measures.compression.compress import allocate, compress, meet
from moebench.measures.compression.recover import TEACHER, TEMPERATURE, distillation, recover
from moebench.measures.compression.sizes import stable_rank, weights_mib
from moebench.tasks import get_task
from packages import Site

DATA = digits("train", 64)
SQUARE = LayerShape(dim=4, out_dim=4, tokens=2)
RESNET = {"name": "resnet", "channels": [8, 16], "blocks": [1, 2], "replace": [2]}
TAKES = {"method": "merge", "keep": 4, "inputs": 32, "steps": 2, "batch": 16, "lr": 1e-3}


def usage(*counts):
    return torch.tensor(counts, dtype=torch.float64) / sum(counts)


def sparse(**settings):
    return model_of("sparse_topk", **settings).eval()


def smaller(model, method="merge", keep=4, seed=0, **settings):
    return compress(model, meet(model, DATA.inputs), load_compressor(method), keep, settings, seed)


# How many stay where


def test_the_most_used_of_all_layers_stay():
    even, uneven = usage(1, 1, 1, 1), usage(6, 1, 0.5, 0.5)
    # Four of eight: the first of each layer, then the largest shares, 0.25 three times before 0.125.
    assert allocate([even, uneven], 2) == [3, 1]
    assert allocate([uneven, even], 2) == [1, 3]
    assert allocate([even, uneven], 4) == [4, 4]


def test_every_layer_keeps_one():
    assert allocate([usage(1, 1, 1, 1), usage(1, 0, 0, 0)], 1) == [1, 1]
    assert allocate([usage(1, 1, 1, 1), usage(1, 0, 0, 0), usage(9, 1, 0, 0)], 2) == [4, 1, 1]


@pytest.mark.parametrize("keep", [1, 2, 3, 5, 8])
def test_it_is_the_number_asked_for_on_average(keep):
    torch.manual_seed(0)
    usages = [usage(*torch.rand(8).tolist()) for _ in range(3)]
    numbers = allocate(usages, keep)
    assert sum(numbers) == 3 * keep
    assert all(1 <= number <= 8 for number in numbers)


@pytest.mark.parametrize("keep", [0, 9, True, 2.0])
def test_a_number_that_cannot_be_kept(keep):
    with pytest.raises(UsageError) as caught:
        smaller(sparse(), keep=keep)
    assert (caught.value.code, caught.value.facts) == ("cannot-keep", {"k": keep, "experts": 8})


# What layers met, and the model that comes of it


def test_layers_meet_what_they_meet_in_the_model():
    model = sparse()
    call = Call(keep_inputs=True)
    with torch.no_grad():
        model.run(DATA.inputs, call)
    for met, layer, x_BTD, routing in zip(
        meet(model, DATA.inputs), model.layers(), call.inputs, call.routings, strict=True
    ):
        assert met.layer is layer
        assert torch.equal(met.x_BTD, x_BTD)
        assert torch.equal(met.routing.chosen_BTK, routing.chosen_BTK)
        assert float(met.usage_E.sum()) == pytest.approx(1)


@pytest.mark.parametrize("method", ["merge", "merge_compress", "prune_reap", "prune_usage", "prune_random"])
def test_the_model_is_left_as_it_was(method):
    model = sparse()
    before, answers = copy.deepcopy(model.state_dict()), answer(model, DATA).logits_NC
    settings = {"rank": 2} if method == "merge_compress" else {}
    small = smaller(model, method, **settings)
    assert sum(layer.num_experts for layer in small.layers()) == 8
    assert not torch.equal(answer(small, DATA).logits_NC, answers)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(answer(model, DATA).logits_NC, answers)


def test_keeping_all_changes_no_answer():
    model = sparse()
    for method in ("keep_all", "merge", "prune_reap", "prune_usage"):
        small = smaller(model, method, keep=8)
        torch.testing.assert_close(answer(small, DATA).logits_NC, answer(model, DATA).logits_NC)


def test_what_is_compressed_already_is_refused():
    small = smaller(sparse())
    for method in ("merge", "prune_usage"):
        with pytest.raises(UsageError, match="compressed already") as caught:
            smaller(small, method, keep=2)
        assert caught.value.code == "cannot-compress"


def test_tokens_have_the_type_of_the_weights_whatever_the_precision():
    layer = torch.nn.Linear(2, 2)

    def in_bf16(x, call):
        call.inputs.append(x.bfloat16())
        call.routings.append(None)

    (met,) = meet(SimpleNamespace(run=in_bf16, layers=lambda: [layer]), torch.ones(3, 2), precision="bf16")
    assert met.x_BTD.dtype == layer.weight.dtype


def test_what_layers_met_can_be_learnt_from():
    (met, *_) = meet(sparse(), DATA.inputs)
    met.layer(met.x_BTD).sum().backward()


def test_what_is_drawn_follows_the_seed():
    model = sparse()
    kept = [[layer.open_E.tolist() for layer in smaller(model, "prune_random", seed=s).layers()] for s in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]
    assert kept[0][0] != kept[0][1]


# Recovery


def test_the_loss_is_half_the_labels_and_half_the_teachers_by_hand():
    taught_NC, given_NC = torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    target_N = torch.tensor([0, 1])
    teacher = SimpleNamespace(run=lambda x, call: {"class": taught_NC})
    loss = distillation(teacher, DIGITS)({"class": given_NC}, split(torch.zeros(2), target_N))
    wanted = (taught_NC / TEMPERATURE).softmax(1)
    divergence = (wanted * (wanted.log() - (given_NC / TEMPERATURE).log_softmax(1))).sum(1).mean()
    labels = F.cross_entropy(given_NC, target_N)
    assert float(loss) == pytest.approx(float((1 - TEACHER) * labels + TEACHER * TEMPERATURE**2 * divergence))


def test_a_student_that_is_its_teacher_learns_from_labels_alone():
    model = sparse()
    own = model.run(DATA.inputs, Call())
    loss, labels = distillation(model, DIGITS)(own, DATA), DIGITS.loss(own, DATA)
    assert float(loss.detach()) == pytest.approx(0.5 * float(labels.detach()), rel=1e-5)


def test_recovery_brings_answers_nearer_and_leaves_the_teacher_alone():
    teacher = sparse(experts=4)
    train(teacher, DATA, recipe(steps=80, lr=5e-3))
    # Labels that the teacher does not have, so that its answers and the labels draw to different sides.
    wrong = split(DATA.inputs, (DATA.targets["class"] + 1) % 10)
    student = smaller(teacher, keep=1)
    before = copy.deepcopy(teacher.state_dict())
    wanted_NC = answer(teacher, DATA).logits_NC
    again, by_labels = copy.deepcopy(student), copy.deepcopy(student)
    train(by_labels, wrong, recipe(steps=60, lr=3e-3))
    for each in (student, again):
        assert recover(each, teacher, DIGITS, wrong, recipe(steps=60, lr=3e-3))
    taught, labelled = ((answer(each, DATA).logits_NC - wanted_NC).abs().mean() for each in (student, by_labels))
    assert taught < 0.85 * labelled
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert torch.equal(answer(student, DATA).logits_NC, answer(again, DATA).logits_NC)


# Sizes


def test_stable_ranks_by_hand():
    layer = installed("sparse_topk").layer(SQUARE, 4, {"experts": 2, "top_k": 1})
    with torch.no_grad():
        layer.experts.w_in_EDH.copy_(torch.eye(4).expand(2, -1, -1))  # 4
        layer.experts.w_out_EHO.zero_()
        layer.experts.w_out_EHO[0, 0, 0] = 3.0  # 1
        layer.experts.w_out_EHO[1] = torch.diag(torch.tensor([2.0, 1.0, 1.0, 0.0]))  # 6 / 4
    assert stable_rank([layer]) == pytest.approx((4 + 4 + 1 + 1.5) / 4)


def test_a_layer_without_matrices_of_experts_has_no_rank():
    assert stable_rank([installed("dense").layer(SQUARE, 4, {})]) is None
    layer = installed("sparse_topk").layer(SQUARE, 4, {"experts": 2})
    with torch.no_grad():
        layer.experts.w_in_EDH[0] = 0.0
    assert stable_rank([layer]) is None


def test_weights_are_counted_as_they_are_stored():
    model = torch.nn.Linear(3, 2)
    model.register_buffer("seen", torch.zeros(5, dtype=torch.int64))
    assert weights_mib(model) * 2**20 == 4 * 8 + 8 * 5


# The measures


def subject(name="sparse_topk", task=None, **settings):
    model = model_of(name, **settings).eval()
    return Subject(model, task or get_task("digits"), None, torch.device("cpu"), "fp32", {}, 7)


def test_the_measure_says_what_was_and_what_is():
    values = compressed(subject(), **TAKES).values
    assert (values["experts 0"] + values["experts 1"]) == 8
    assert values["layers_params"] < values["layers_params before"] < values["model_params before"]
    assert values["weights_mib"] < values["weights_mib before"]
    assert values["layers_flops"] < values["layers_flops before"] < values["model_flops before"]
    assert 0 <= values["unrecovered"] <= 1
    assert 0 <= values["after"] <= 1
    model = subject().model
    assert values["stable_rank before"] == stable_rank(model.layers())


def test_every_method_draws_the_same_batches_and_not_those_of_the_training(monkeypatch):
    recipes = []
    monkeypatch.setattr(
        import_module("moebench.measures.compressed"), "recover", lambda *given: recipes.append(given[-1]) or True
    )
    for method in ("merge", "prune_reap", "prune_usage"):
        compressed(subject(), **TAKES | {"method": method})
    assert recipes[0] == recipes[1] == recipes[2]
    assert recipes[0].seed not in range(7, 11)  # what training from seed 7 draws from
    assert {seed + extra for seed in (recipes[0].seed,) for extra in (2, 3)}.isdisjoint(range(7, 11))


def test_a_recovery_that_diverges_has_a_reason_and_no_score():
    scores = compressed(subject(), **TAKES | {"lr": 1e12, "steps": 60})
    assert (scores.values["after"], scores.reasons["after"]) == (None, "its loss in recovery was not finite")
    assert scores.values["stable_rank"] is None
    assert scores.values["unrecovered"] is not None


@pytest.mark.parametrize("host", [{"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 4}, RESNET])
@pytest.mark.parametrize("method", ["merge", "merge_compress", "prune_reap"])
def test_in_bf16_on_every_kind_of_host(host, method):
    given = dataclasses.replace(subject(host=host), precision="bf16")
    values = compressed(given, **TAKES | {"method": method}).values
    assert 0 <= values["after"] <= 1


@pytest.mark.parametrize("name", ["block_moe", "conv_moe"])
def test_experts_that_are_no_matrices_have_no_rank(name):
    host = RESNET if name == "conv_moe" else RESNET | {"residual": False}
    given = subject(name, host=host, budget=60_000, experts=4)
    scores = compressed(given, **TAKES | {"method": "keep_all", "steps": 0})
    assert scores.values["stable_rank"] is None
    assert scores.values["before"] == scores.values["unrecovered"]
    with pytest.raises(UsageError) as caught:
        compressed(given, **TAKES)
    assert caught.value.code == "cannot-compress"


def test_without_recovery_there_is_a_reason_and_of_factored_weights_there_is_no_rank():
    takes = TAKES | {"method": "merge_compress", "settings": {"rank": 2}, "steps": 0}
    scores = compressed(subject(), **takes)
    assert (scores.values["after"], scores.reasons["after"]) == (None, "it was not recovered")
    assert scores.values["stable_rank"] is None
    assert "other parameters" in scores.reasons["stable_rank"]
    assert scores.values["stable_rank before"] >= 1


def test_a_task_without_classes_is_refused():
    norm = get_task("norm")
    with pytest.raises(UsageError) as caught:
        compressed(subject(task=norm), **TAKES)
    assert caught.value.code == "compress-needs-classes"


# Methods as plug-ins


METHOD = """
    class Half:
        name = "half"

        def compress(self, met, keep, settings, generator):
            import copy
            return copy.deepcopy(met.layer)

    class Careless:
        name = "careless"

        def compress(self, met, keep, settings, generator):
            return settings["rank"]
"""


def test_another_authors_method_is_found_and_wrong_ones_are_refused(tmp_path, monkeypatch):
    site = Site(tmp_path / "site", monkeypatch)
    site.write("their_methods.py", METHOD + "    class Nameless:\n        name = 'other'\n")
    points = {
        "half": "their_methods:Half",
        "careless": "their_methods:Careless",
        "bad": "their_methods:Nameless",
        "gone": "their_methods:Gone",
    }
    site.install("their-methods", points, group="moebench.compressors")
    model = sparse()
    small = compress(model, meet(model, DATA.inputs), load_compressor("half"), 8, {}, 0)
    assert torch.equal(answer(small, DATA).logits_NC, answer(model, DATA).logits_NC)
    met = meet(model, DATA.inputs)
    for call, code in (
        (lambda: compress(model, met, load_compressor("half"), 4, {}, 0), "compressor-kept-other-number"),
        (lambda: compress(model, met, load_compressor("careless"), 4, {}, 0), "compressor-raised"),
        (lambda: load_compressor("bad"), "not-a-compressor"),
    ):
        with pytest.raises(PluginError) as caught:
            call()
        assert caught.value.code == code
    with pytest.raises(PluginError, match=r"compressor gone: .* has no 'Gone'"):
        load_compressor("gone")
