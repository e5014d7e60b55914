"""A trained model with a few experts for each input."""

import subprocess
import sys

import pytest
import torch

import moebench
from hand_made import (
    DIGITS,
    SMALL_HOST,
    Plain,
    Table,
    accuracy,
    always,
    answer,
    digits,
    model_of,
    one_hots,
    own_expert,
    recipe,
    single_layer,
    train,
)
from moebench.contract import Context, Restricts
from moebench.errors import UsageError
from moebench.hosts import host_settings
from moebench.measures.subset.infer import ALL, experts_of, fit_static, subset_inference, subset_of
from moebench.tasks import get_task
from moebench.tasks.targets import correct

DATA = digits("test", 60)
ROUTED = ["soft_moe", "sparse_topk"]


@pytest.fixture(scope="module")
def trained():
    """The paper's host with 16 experts, after a short training."""
    model = model_of("soft_moe", host={"name": "single_layer", "grid": 2}, budget=20_000, experts=16)
    train(model, digits("train"), recipe(steps=300, batch=64, lr=5e-3))
    return model.eval()


def by_hand(model, data, k, key=lambda visit: visit.routing.mass_BE):
    """Logits with the k experts of largest key, taken with topk instead of a sort."""

    def select(visit):
        kept_Bk = key(visit).topk(k, dim=1).indices
        return torch.zeros_like(visit.routing.mass_BE, dtype=torch.bool).scatter(1, kept_Bk, True)

    with torch.no_grad():
        return model.eval()(data.inputs, select=select).outputs["class"]


@pytest.mark.parametrize("name", ROUTED)
@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_k_experts_of_largest_mass_act_in_every_layer_on_the_masked_stream(name, k):
    model = model_of(name)
    answers = subset_inference(model, DATA, k)
    assert torch.allclose(answers.values["class"], by_hand(model, DATA, k), atol=1e-5)
    assert answers.masses[0].shape == (60, 8)


@pytest.mark.parametrize("name", ROUTED)
@pytest.mark.parametrize("score", ["combine_sum", "combine_max", "combine_norm", "random", "worst"])
def test_all_experts_by_any_score_are_the_whole_model(name, score):
    model = model_of(name)
    whole = answer(model, DATA).logits_NC
    assert torch.allclose(subset_inference(model, DATA, 8, score=score).values["class"], whole, atol=1e-5)
    assert not torch.allclose(subset_inference(model, DATA, 2, score=score).values["class"], whole, atol=1e-3)


@pytest.mark.parametrize("name", ROUTED)
def test_experts_that_no_input_chose_are_not_computed(name):
    model = model_of(name)
    fitted = fit_static(model, DATA)
    before = subset_inference(model, DATA, 3, score="static", fitted=fitted).values["class"]
    with torch.no_grad():
        for layer, mean_E in zip(model.layers(), fitted, strict=True):
            idle = mean_E.argsort(descending=True)[3:]
            for parameter, axis in layer.expert_parameters().items():
                layer.get_parameter(parameter).index_fill_(axis, idle, torch.nan)
    after = subset_inference(model, DATA, 3, score="static", fitted=fitted).values["class"]
    assert torch.equal(before, after)
    assert answer(model, DATA).logits_NC.isnan().all()


def test_the_right_experts_suffice_and_the_worst_do_not(trained):
    test = digits("test")

    def share_right(k, **how):
        return accuracy(subset_inference(trained, test, k, **how).values["class"], test.targets["class"])

    fitted = fit_static(trained, digits("validation"))
    selected, by_chance, worst = (share_right(8, score=score) for score in ("combine_sum", "random", "worst"))
    assert selected > by_chance + 0.02
    assert by_chance > worst + 0.02
    assert share_right(8, score="static", fitted=fitted) > worst + 0.02
    assert share_right(16) == accuracy(answer(trained, test).logits_NC, test.targets["class"]) > 0.85


def test_renormalised_weights_by_hand(trained):
    """In this host the layer's output is all there is: each token is scaled by 1 over its kept combine weight."""
    x_BTD = trained.patches(DATA.inputs)
    layer = trained.layers()[0]
    with torch.no_grad():
        routing = layer.route(x_BTD, Context())
        keep_BE = torch.zeros_like(routing.mass_BE, dtype=torch.bool)
        keep_BE.scatter_(1, routing.mass_BE.topk(4, dim=1).indices, True)
        kept_BT1 = (routing.combine_BTE * keep_BE.unsqueeze(1)).sum(2, keepdim=True)
        expected = trained.head((layer.compute(x_BTD, routing, keep_BE) / kept_BT1).flatten(1))
    got = {rule: subset_inference(trained, DATA, 4, rule=rule) for rule in ("as_is", "renormalise", "mask_logits")}
    assert torch.allclose(got["renormalise"].values["class"], expected, atol=1e-4)
    assert torch.allclose(got["mask_logits"].values["class"], expected, atol=1e-4)
    assert not torch.allclose(got["as_is"].values["class"], expected, atol=0.1)
    # The masses are those before the choice, whatever the rule.
    assert all(torch.equal(each.masses[0], got["as_is"].masses[0]) for each in got.values())


@pytest.mark.parametrize("score", ["combine_sum", "dispatch", "random"])
def test_neither_batches_nor_batch_mates_change_an_answer(score):
    model = model_of("soft_moe", host={"name": "single_layer", "grid": 2})
    whole, parts = (subset_inference(model, DATA, 3, score=score, batch=batch).values["class"] for batch in (60, 7))
    assert torch.allclose(whole, parts, atol=1e-5)


def test_random_subsets_are_those_of_the_seed():
    model = model_of("soft_moe")
    one, again, other = (
        subset_inference(model, DATA, 2, score="random", seed=seed).values["class"] for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-3)


def test_bf16_is_near_fp32():
    model = model_of("soft_moe")
    exact, rounded = (subset_inference(model, DATA, 4, precision=each).values["class"] for each in ("fp32", "bf16"))
    assert not torch.equal(exact, rounded)
    near = (exact - rounded).abs().amax(1) < 0.05
    assert near.double().mean() > 0.9  # a rounded mass may choose another expert


def test_an_oracle_needs_one_expert():
    layer = Table(own_expert, torch.eye(4))
    model = single_layer(layer, image=(1, 1, 4), classes=4, head=torch.eye(4), grid=1)
    data = one_hots([0, 1, 2, 3], 4)
    assert accuracy(subset_inference(model, data, 1).values["class"], data.targets["class"]) == 1
    assert accuracy(subset_inference(model, data, 3, score="worst").values["class"], data.targets["class"]) == 1 / 4


def refused(call, *args, **how):
    """The error's code, and its facts."""
    with pytest.raises(UsageError) as caught:
        call(*args, **how)
    return caught.value.code, caught.value.facts


@pytest.mark.parametrize("k", [0, 9, -1, True, 2.0, "3"])
def test_a_number_outside_1_to_e_is_refused_naming_both(k):
    assert refused(subset_inference, model_of("soft_moe"), DATA, k) == ("cannot-keep", {"k": k, "experts": 8})


@pytest.mark.parametrize("model", [model_of("dense"), single_layer(Plain(), image=(1, 1, 2), classes=2, grid=1)])
def test_a_model_without_experts_is_refused(model):
    assert refused(subset_inference, model, DATA, 1) == refused(fit_static, model, DATA) == ("no-experts", {})


def test_layers_with_different_numbers_of_experts_are_refused():
    host = host_settings(SMALL_HOST).build(get_task("digits").info)
    host.attach([Table(always(*[1.0] * experts), torch.zeros(experts, 16)) for experts in (4, 8)])
    assert refused(experts_of, host) == ("unequal-experts", {"counts": [4, 8]})


def test_masses_of_another_model_are_refused():
    model = model_of("soft_moe")
    fitted = fit_static(model, DATA)
    assert len(fitted) == 2
    for wrong in (fitted[:1], [torch.zeros(4)] * 2):
        assert refused(subset_of, model, 2, score="static", fitted=wrong)[0] == "fitted-for-another-model"


def test_an_unknown_score_or_rule_is_refused():
    model = model_of("soft_moe")
    assert refused(subset_of, model, 2, score="combine_some")[0] == "unknown-score"
    assert refused(subset_of, model, 2, rule="renormalize")[0] == "unknown-rule"


def test_a_rule_that_the_layer_does_not_have_is_refused_with_those_it_has():
    class Own(Table, Restricts):
        rules = ("own",)

    for kind, has in ((Table, ("as_is",)), (Own, ("as_is", "own"))):
        layer = kind(own_expert, torch.eye(4))
        model = single_layer(layer, image=(1, 1, 4), classes=4, grid=1)
        facts = {"layer": kind.__name__, "has": has}
        assert refused(subset_of, model, 2, rule="mask_logits") == ("layer-lacks-rule", facts)
    assert subset_of(model, 2, rule="own").rule == "own"


def test_a_score_the_layer_cannot_give_is_refused():
    assert refused(subset_inference, model_of("sparse_topk"), DATA, 2, score="dispatch")[0] == "layer-lacks-score"


def test_the_model_is_left_as_it_was():
    model = model_of("sparse_topk").train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    subset_inference(model, DATA, 2, score="random", rule="mask_logits")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_fitting_static_is_the_mean_mass_of_the_whole_model():
    model = model_of("soft_moe")
    fitted = fit_static(model, DATA)
    for mean_E, mass_NE in zip(fitted, answer(model, DATA).masses, strict=True):
        assert torch.allclose(mean_E, mass_NE.double().mean(0), atol=1e-6)


def test_all_is_the_whole_model_without_a_selection():
    model = model_of("soft_moe")
    right_N = ALL.evaluate(model, DIGITS, DATA).values["accuracy"]
    class_N = DATA.targets["class"]
    assert torch.equal(right_N, correct(answer(model, DATA).logits_NC, class_N))
    assert ALL.score(model, DIGITS, DATA) == float(right_N.mean())
    assert ALL.call().select is None


def test_it_is_exported_and_importing_moebench_stays_cheap():
    assert moebench.subset_inference is subset_inference
    code = "import sys, moebench; assert 'subset_inference' in moebench.__all__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
