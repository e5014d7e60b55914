"""Layers of 2023 to 2026 against second, slow implementations straight from their equations."""

import pytest
import torch

from moebench.contract import Context, LayerShape
from moevariants.latent_moe import LatentMoE
from moevariants.random_balanced import RandomBalanced, RandomBalancedDetached
from moevariants.sigma_moe import SigmaMoE
from moevariants.topk_qb import TopKQB

SHAPE = LayerShape(dim=12, out_dim=7, tokens=None)


def built(variant, size=5, seed=0, shape=SHAPE, **settings):
    torch.manual_seed(seed)
    return variant().layer(shape, size, settings).double()


def tokens(seed=1, inputs=2, length=5, dim=12):
    return torch.randn(inputs, length, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expert(bank, e, x_D):
    """One expert on one token."""
    hidden_H = torch.nn.functional.gelu(x_D @ bank.w_in_EDH[e] + bank.b_in_EH[e])
    return hidden_H @ bank.w_out_EHO[e] + bank.b_out_EO[e]


def agree(layer, slow, x_BTD):
    """Outputs and all gradients, those of inputs among them, of a layer and of a function of single tokens."""
    probe_BTO = torch.randn(*x_BTD.shape[:2], SHAPE.out_dim, dtype=torch.float64)
    x_BTD.requires_grad_()
    parameters = [x_BTD, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    theirs_BTO = torch.stack([torch.stack([slow(x_D) for x_D in x_TD]) for x_TD in x_BTD])
    ours_BTO = layer(x_BTD)
    torch.testing.assert_close(ours_BTO, theirs_BTO, rtol=1e-9, atol=1e-11)
    grads = (torch.autograd.grad((y_BTO * probe_BTO).sum(), parameters) for y_BTO in (ours_BTO, theirs_BTO))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"experts": 3, "top_k": 2, "narrow": 2}, {"experts": 5, "narrow": 1}])
def test_latent_moe_is_its_equation(settings):
    layer = built(LatentMoE, **settings)
    top_k = settings.get("top_k", 4)

    def slow(x_D):
        p_E = (x_D @ layer.router.weight_DE).softmax(0)
        weight_K, chosen_K = p_E.topk(top_k)
        pairs = zip(weight_K / weight_K.sum(), chosen_K, strict=True)
        narrow_D = x_D @ layer.down.weight.T
        return sum(w * expert(layer.experts, e, narrow_D) for w, e in pairs) @ layer.up.weight.T

    agree(layer, slow, tokens())


@pytest.mark.parametrize("variant", [TopKQB, RandomBalanced, RandomBalancedDetached])
@pytest.mark.parametrize("top_k", [1, 2])
def test_quantile_balancing_is_its_equation(variant, top_k):
    """The bias has a say in the choice and no gradient."""
    layer = built(variant, experts=5, top_k=top_k).train()
    layer(tokens(seed=7, length=20))
    layer.after_step()
    assert layer.gate.bias_E.any()

    def slow(x_D):
        routed_D = x_D.detach() if variant is RandomBalancedDetached else x_D
        logits_E = routed_D @ layer.router.weight_DE
        chosen_K = (logits_E + layer.gate.bias_E).topk(top_k).indices
        weight_K = logits_E.sigmoid()[chosen_K]
        weight_K = weight_K / weight_K.sum() if top_k > 1 else weight_K
        return sum(w * expert(layer.experts, e, x_D) for w, e in zip(weight_K, chosen_K, strict=True))

    x_BTD = tokens()
    plain = (x_BTD @ layer.router.weight_DE).topk(top_k).indices.sort().values
    assert not torch.equal(plain, layer.route(x_BTD, Context()).chosen_BTK.sort().values)
    agree(layer, slow, x_BTD)


def test_latent_moe_has_the_parameters_of_the_published_count():
    """2 D^2 / a + a D E' + 2 E D H with E' = a E: without biases, in width D / a."""
    shape = LayerShape(dim=12, out_dim=12, tokens=None, bias=False)
    layer = built(LatentMoE, size=5, shape=shape, experts=16, narrow=4)
    assert sum(p.numel() for p in layer.parameters()) == 2 * 12 * 12 // 4 + 12 * 16 + 16 * 2 * (12 // 4) * 5


@pytest.mark.parametrize("settings", [{"expert_dropout": 0.0}, {"experts": 3, "top_k": 1, "expert_dropout": 0.0}])
def test_sigma_moe_is_its_equation(settings):
    layer = built(SigmaMoE, **settings)
    top_k = settings.get("top_k", 4)

    def slow(x_D):
        s_E = (x_D @ layer.router.weight_DE).sigmoid()
        weight_K, chosen_K = s_E.topk(top_k)
        return sum(w * expert(layer.experts, e, x_D) for w, e in zip(weight_K, chosen_K, strict=True))

    agree(layer, slow, tokens())


def test_sigma_moe_by_hand():
    """Two experts of logits 0 and log 3: scores 1/2 and 3/4; one is chosen and keeps 3/4."""
    layer = built(SigmaMoE, experts=2, top_k=1)
    x_BTD = torch.zeros(1, 1, 12, dtype=torch.float64)
    x_BTD[..., 0] = 1
    with torch.no_grad():
        layer.router.weight_DE.zero_()
        layer.router.weight_DE[0, 1] = torch.tensor(3.0).log()
    routing = layer.eval().route(x_BTD, Context())
    assert routing.chosen_BTK.tolist() == [[[1]]]
    assert routing.weight_BTK.item() == pytest.approx(0.75)


def test_sigma_moe_leaves_experts_out_of_a_whole_batch_and_never_lacks_choices():
    layer = built(SigmaMoE, experts=8, top_k=2, expert_dropout=0.6).train()
    x_BTD = tokens(inputs=4, length=50)
    used = []
    for seed in range(30):
        torch.manual_seed(seed)
        chosen_BTK = layer.route(x_BTD, Context()).chosen_BTK
        assert (chosen_BTK[..., 0] != chosen_BTK[..., 1]).all()
        used.append(len(chosen_BTK.unique()))
    assert min(used) < 5 < len(layer.eval().route(x_BTD, Context()).chosen_BTK.unique())


def test_sigma_moe_starts_as_a_dense_layer_of_all_its_experts_would():
    shape = LayerShape(dim=64, out_dim=64, tokens=None, depth=2)
    layer = built(SigmaMoE, size=32, shape=shape, experts=16)
    assert float(layer.experts.w_in_EDH.detach().std()) == pytest.approx(64**-0.5, rel=0.02)
    assert float(layer.experts.w_out_EHO.detach().std()) == pytest.approx((16 * 32) ** -0.5, rel=0.02)
    norm_E = layer.router.weight_DE.norm(dim=0)
    torch.testing.assert_close(norm_E, norm_E.mean().expand_as(norm_E))


def test_sigma_moe_entropy_is_0_for_an_even_load_and_log_e_when_collapsed():
    layer = built(SigmaMoE, experts=4, top_k=2, **{"loss/entropy": 1e-3}).train()
    x_BTD = torch.ones(1, 3, 12, dtype=torch.float64)
    with torch.no_grad():
        layer.router.weight_DE.zero_()
    assert float(layer.route(x_BTD, Context()).losses["entropy"].detach()) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        layer.router.weight_DE[:, 0] = 100.0
    assert float(layer.route(x_BTD, Context()).losses["entropy"].detach()) == pytest.approx(
        torch.tensor(4.0).log().item()
    )


@pytest.mark.parametrize(
    ("variant", "settings", "words"),
    [
        (LatentMoE, {"narrow": 5}, "narrow must be a divisor of the width 12, not 5"),
        (LatentMoE, {"top_k": 1}, "top_k must be 2 or more"),
        (LatentMoE, {"top_k": 17}, "top_k must be at most 16"),
        (SigmaMoE, {"expert_dropout": 1.0}, "expert_dropout must be below 1"),
        (SigmaMoE, {"top_k": 0}, "top_k must be a whole number"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(variant, settings, words):
    with pytest.raises(ValueError, match=words):
        built(variant, **settings)
