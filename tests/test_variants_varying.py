"""Layers whose tokens choose different numbers of experts: by hand, against their equations, and what they cost."""

import pytest
import torch

from moebench.budgets import Budget, solve
from moebench.budgets.flops import choice_flops, count_flops
from moebench.budgets.place import find_leak
from moebench.contract import LayerShape, Routing
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model
from moebench.measures.scores.final import routing_summary
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.protocol import PROTOCOL
from moebench.records import Cell
from moebench.runner.job import Job
from moebench.runner.model import BuiltModel
from moebench.runner.run_cell import run_cell
from moebench.tasks import get_task
from moebench.training.loop import train
from moebench.training.recipe import Recipe
from moevariants.expert_threshold import ExpertThreshold
from moevariants.parts.losses import active_loss
from moevariants.parts.varying import LARGEST_SCALE, ReLUGate, ThresholdGate
from moevariants.remoe import ReMoE
from test_variants_2026 import agree, built, expert, tokens

LOGITS = torch.tensor([[[2.0, -1.0, 0.5], [-3.0, -2.0, -1.0], [1.0, 3.0, 2.0]]])


def test_choices_that_a_token_does_not_want_do_not_count_and_are_no_drops():
    wanted_BTK = torch.tensor([[[True, True], [True, False], [False, False]]])
    kept_BTK = torch.tensor([[[True, False], [True, True], [True, True]]])
    chosen_BTK, weight_BTK = torch.tensor([0, 1]).expand(1, 3, -1), torch.ones(1, 3, 2)
    routing = Routing.sparse(chosen_BTK, weight_BTK, experts=2, kept_BTK=kept_BTK, wanted_BTK=wanted_BTK)
    assert routing.load_BE.tolist() == [[2, 0]]
    assert routing.drop_rate_B.tolist() == pytest.approx([1 / 3])
    assert routing.coverage_B.tolist() == pytest.approx([2 / 3])
    assert routing.mass_BE.tolist() == [[2, 0]]
    none = Routing.sparse(chosen_BTK, weight_BTK, experts=2, wanted_BTK=torch.zeros_like(wanted_BTK))
    assert none.drop_rate_B.tolist() == [0]


def test_relu_routing_by_hand():
    """2 + 0 + 3 of 9 places act; f = 2/3, 1/3, 2/3, mean weights 1, 1, 2.5/3: 3/1 (2/3 + 1/3 + 5/9) = 14/3."""
    gate = ReLUGate(1, start=0.5, factor=2.0, loss=True).train()
    gated = gate(LOGITS)
    assert gated.wanted_BTK.tolist() == [[[True, False, True], [False] * 3, [True] * 3]]
    assert gated.weight_BTK.tolist() == [[[2, 0, 0.5], [0, 0, 0], [1, 3, 2]]]
    assert float(gated.losses["sparsity"]) == pytest.approx(0.5 * 14 / 3)
    gate.after_step()
    assert float(gate.scale) == 1.0, "5 experts for 3 tokens are more than 1 each"
    gate(LOGITS - 2)
    gate.after_step()
    assert float(gate.scale) == 0.5, "one for three is less"
    gate.after_step()
    gate.eval()(LOGITS)
    gate.after_step()
    assert float(gate.scale) == 0.5, "without training nothing moves"
    assert gate(LOGITS).losses == {}


def test_padding_and_micro_batches_of_relu_routing():
    whole, parts, padded = (ReLUGate(1, start=0.1, factor=2.0, loss=True).train() for _ in range(3))
    whole(LOGITS)
    for token in range(3):
        parts(LOGITS[:, token : token + 1])
    mask_BT = torch.tensor([[True] * 3 + [False] * 20])
    longer_BTE = torch.cat([LOGITS, -torch.ones(1, 20, 3)], 1)
    assert float(padded(longer_BTE, mask_BT).losses["sparsity"]) == pytest.approx(0.1 * 14 / 3)
    for gate in (whole, parts, padded):
        gate.after_step()
        assert float(gate.scale) == pytest.approx(0.2)


def test_the_scale_has_an_end():
    gate = ReLUGate(1, start=0.9, factor=1.2, loss=True).train()
    for _ in range(3):
        gate(LOGITS)
        gate.after_step()
    assert float(gate.scale) == LARGEST_SCALE


def test_remoe_is_its_equation():
    layer = built(ReMoE, experts=5)

    def slow(x_D):
        weight_E = (x_D @ layer.router.weight_DE).relu()
        return sum(weight_E[e] * expert(layer.experts, e, x_D) for e in range(5))

    agree(layer, slow, tokens())


def test_thresholds_by_hand():
    """6 tokens, 2 experts, K = 1: 3 reach the third largest logit of an expert."""
    gate = ThresholdGate(2, 1, decay=0.75).train()
    first = torch.tensor([[[1.0, -1], [2, -2], [3, -3], [4, -4], [5, -5], [6, -6]]])
    gated = gate(first)
    assert gated.wanted_BTK[..., 0].all(), "all logits above 0, where thresholds start"
    assert not gated.wanted_BTK[..., 1].any()
    torch.testing.assert_close(gated.weight_BTK, first.sigmoid())
    gate.after_step()
    assert gate.threshold_E.tolist() == [4, -3]
    for _ in range(4):
        gate(first + 8)
        gate.after_step()
    # 4, then 4 + 8/2, 8 + 4/3, 9 1/3 + (12 - 9 1/3)/4, and again a quarter of the way.
    assert gate.threshold_E.tolist() == pytest.approx([10.5, 3.5])
    gate.eval()(first)
    gate.after_step()
    assert gate.threshold_E.tolist() == pytest.approx([10.5, 3.5])
    assert gate(first + 5).wanted_BTK[0, :, 0].tolist() == [False] * 5 + [True]


def test_expert_threshold_is_its_equation():
    layer = built(ExpertThreshold, experts=5, top_k=2)
    layer.gate.threshold_E.copy_(torch.linspace(-0.5, 0.5, 5))

    def slow(x_D):
        logit_E = x_D @ layer.router.weight_DE
        chosen = [e for e in range(5) if logit_E[e] > layer.gate.threshold_E[e]]
        routed = sum(logit_E[e].sigmoid() * expert(layer.experts, e, x_D) for e in chosen)
        return routed + expert(layer.shared, 0, x_D)

    agree(layer, slow, tokens())


@pytest.mark.parametrize("settings", [{}, {"shared": 0, "experts": 4, "top_k": 1}])
def test_expert_threshold_looks_at_no_later_token_in_training_either(settings):
    torch.manual_seed(0)
    layer = ExpertThreshold().layer(LayerShape(dim=12, out_dim=12, tokens=9, causal=True), 5, settings).train()
    for seed in range(3):
        layer(tokens(seed=seed, length=9).float())
        layer.after_step()
    assert layer.gate.threshold_E.any()
    assert find_leak(layer, tokens(length=9).float(), 3 * tokens(seed=5, length=9).float()) is None


QUICK_ALL = {"name": "vit", "dim": 64, "depth": 2, "heads": 4, "patch": 2}
CONTROLS = {"name": "tokenwise", "dim": 32, "depth": 1}


def trained(variant, steps, lr=5e-3, task="digits", host=QUICK_ALL, budget=264_320):
    """A model of a suite's host, and the number of choices a token in each step and layer: both have 16 tokens."""
    task, host = get_task(task), host_settings(host)
    shapes = layer_shapes(host, task.info)
    settings = {**variant.space(shapes[0]).defaults(), "experts": 16}
    sizes = solve(variant, Budget("total", budget, shapes), settings).sizes
    model = build_model(host, task.info, variant, sizes, settings, seed=0)
    recipe = Recipe(
        steps=steps,
        batch=64,
        micro_batch=None,
        lr=lr,
        weight_decay=0.05,
        loss_weights={"sparsity": 1.0},
        precision="fp32",
        augment=None,
        seed=0,
    )
    curves = train(model, task.load("train"), recipe, task.loss)
    return model, curves.acted_SL / (64 * 16)


def test_remoe_reaches_its_sparsity_within_a_third_of_the_steps_of_quick_all():
    """300 steps there; 100 are enough, at the default rate."""
    model, acts_SL = trained(ReMoE(), steps=100)
    assert acts_SL[0].min() > 5, "at first about half of the 16 act"
    assert (abs(acts_SL[80:].mean(0) - 2) < 0.5).all()
    assert routing_summary(model, get_task("digits").load("validation"))["acting_experts"] == pytest.approx(2, abs=0.6)


def test_remoe_reaches_its_sparsity_within_a_third_of_the_steps_of_controls_all():
    """200 steps there; at the default rate."""
    _, acts_SL = trained(ReMoE(), 100, 2e-2, "clusters_near", CONTROLS, 33_000)
    assert acts_SL[0].min() > 5
    assert acts_SL[:30].min() < 1, "it falls below first"
    assert (abs(acts_SL[50:67].mean(0) - 2) < 0.6).all()
    assert (abs(acts_SL[80:].mean(0) - 2) < 0.3).all()


def test_thresholds_settle_on_k_experts_a_token():
    _, acts_SL = trained(ExpertThreshold(), steps=60)
    assert (abs(acts_SL[40:].mean(0) - 3) < 0.6).all()


@pytest.mark.parametrize(("variant", "settings"), [(ReMoE, {}), (ExpertThreshold, {"experts": 8})])
def test_training_costs_what_acted(variant, settings):
    """One choice costs two products of D H; more choices than nominal add to the FLOPs of training, fewer take off."""
    shape = LayerShape(dim=12, out_dim=12, tokens=5)
    layer = variant().layer(shape, 7, settings)
    cost = choice_flops(layer, shape)
    assert cost == 2 * 2 * 12 * 7
    always = 0 if variant is ReMoE else 5 * cost
    assert count_flops(layer, shape) == 5 * layer.gate.top_k * cost + always + 2 * 5 * 12 * 8  # the router
    nominal, inputs = layer.gate.top_k, 10
    counts = {"training_flops": 1000, "experts_per_token": [float(nominal)], "layers": [shape.to_json()]}
    model = BuiltModel(model=None, counts=counts, choice_flops=(cost,))
    acted_SL = torch.full((2, 1), 5 * inputs * (nominal + 1) / 2).numpy()
    model.count_choices(acted_SL, inputs)
    assert counts["training_flops"] == 1000 + 3 * cost * 5 * inputs


@pytest.mark.parametrize(
    ("variant", "settings", "words"),
    [
        (ReMoE, {"top_k": 9}, "top_k must be at most 8"),
        (ReMoE, {"start": 0}, "start must be above 0"),
        (ReMoE, {"factor": 1}, "factor must be above 1"),
        (ExpertThreshold, {"decay": 1.0}, "decay must be below 1"),
        (ExpertThreshold, {"shared": -1}, "shared must be a whole number"),
        (ExpertThreshold, {"top_k": 0}, "top_k must be a whole number"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(variant, settings, words):
    with pytest.raises(ValueError, match=words):
        built(variant, **settings)


def test_the_loss_of_relu_routing_pulls_busy_experts_more():
    weight_BTE = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]], requires_grad=True)
    active_loss(weight_BTE, weight_BTE.detach() > 0, 1).backward()
    assert weight_BTE.grad[0, 0].tolist() == pytest.approx([1.0, 0.5])


def test_the_record_of_a_training_counts_what_acted(tmp_path):
    """Ten steps, in which more than two experts act on a token."""
    task, settings = get_task("digits"), {"experts": 8, "top_k": 2, "start": 1e-3, "factor": 1.2, "loss/sparsity": 1.0}
    cell = Cell(
        kind="trial",
        protocol=PROTOCOL,
        task="digits",
        data_digest=task.digest(),
        split=task.split,
        host={"name": "vit", "dim": 16, "depth": 2, "heads": 2, "patch": 2},
        variant="remoe",
        code_digest=code_identity(find_variant("remoe")),
        settings={**settings, "lr": 3e-3, "weight_decay": 0.1},
        axis="total",
        budget=20_000,
        seed=7,
        steps=10,
        batch=24,
        micro_batch=10,
        precision="fp32",
        threads=1,
    )
    job = Job(
        cell=cell,
        row="remoe",
        spec="remoe",
        label="remoe",
        suite="made",
        results=tmp_path,
        data=None,
        device="cpu",
        backend=None,
        save_weights=False,
        ranked=True,
    )
    counts = run_cell(job).counts
    assert counts["experts_per_token"] == [2.0, 2.0]
    assert counts["training_flops"] > 1.2 * 3 * counts["model_flops_per_input"] * 24 * 10
