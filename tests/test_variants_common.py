"""What holds for every built-in variant: masks, padding, copies, types, determinism, spaces, FLOPs."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from moebench.budgets.count import active_parameters, experts_held
from moebench.budgets.flops import nominal_routing
from moebench.contract import Choice, Context, LayerShape
from moevariants.cosine_topk import CosineTopK
from moevariants.deepseek import DeepSeek
from moevariants.dense import Dense
from moevariants.expert_choice import ExpertChoice
from moevariants.expert_threshold import ExpertThreshold
from moevariants.hash_position import HashPosition
from moevariants.latent_moe import LatentMoE
from moevariants.modse import MoDSE
from moevariants.mu_moe import MuMoECP, MuMoETR
from moevariants.parts import experts
from moevariants.parts.dispatch import plan_dispatch
from moevariants.random_balanced import RandomBalanced
from moevariants.random_router import RandomRouter
from moevariants.remoe import ReMoE
from moevariants.sigma_moe import SigmaMoE
from moevariants.smola import SMoLA
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import PRESETS, SparseTopK
from moevariants.topk_qb import TopKQB

SHAPE = LayerShape(dim=8, out_dim=6, tokens=None)
GATED = LayerShape(dim=8, out_dim=6, tokens=None, activation="swiglu")
ROUTED = [
    (SoftMoE, {}),
    (SoftMoE, {"slots": 2, "normalise": True}),
    (SoftMoE, {"normalise": True, "slots_from_normalised_tokens": True}),
    (SparseTopK, {}),
    (SparseTopK, {"top_k": 1, "renormalise": False}),
    (SparseTopK, {"top_k": 3, "renormalise": False, "noise_std": 0.5, "loss/load": 0.1, "loss/z": 0.1}),
    (SparseTopK, {"capacity": 0.8}),
    (SparseTopK, {"capacity": 0.8, "batch_priority": True, "loss/importance": 0.1}),
    (SparseTopK, dict(PRESETS["switch"])),
    (SparseTopK, dict(PRESETS["gshard"])),
    (SparseTopK, dict(PRESETS["v_moe"])),
    (RandomRouter, {}),
    (ExpertChoice, {"experts": 8}),
    (ExpertChoice, {"experts": 8, "capacity": 0.7}),
    (DeepSeek, {"experts": 8}),
    (CosineTopK, {}),
    (HashPosition, {}),
    (MoDSE, {"noise_std": 1.0}),
    (SMoLA, {"experts": 8}),
    (ReMoE, {}),
    (ExpertThreshold, {"experts": 8}),
    (TopKQB, {}),
    (RandomBalanced, {}),
    (SigmaMoE, {"experts": 8, "top_k": 2, "expert_dropout": 0.0}),
    (LatentMoE, {"experts": 8, "top_k": 2, "narrow": 2}),
]
ALL = [(Dense, {}), *ROUTED]
routed = pytest.mark.parametrize(("variant", "settings"), ROUTED, ids=str)
every = pytest.mark.parametrize(("variant", "settings"), ALL, ids=str)


def build(variant, settings, seed=0, size=5, shape=SHAPE):
    torch.manual_seed(seed)
    return variant().layer(shape, size, settings)


def tokens(inputs=3, length=7, seed=1):
    return torch.randn(inputs, length, 8, generator=torch.Generator().manual_seed(seed))


def choose(layer, backend):
    """Let every bank of experts, of those that differ in size too, use a backend."""
    for module in layer.modules():
        if hasattr(module, "set_backend"):
            module.set_backend(backend)


def of_experts(layer, tensors, experts):
    """What each tensor, named as a parameter is, holds of these experts."""
    for name, axis in layer.expert_parameters().items():
        held = experts_held(layer, name)
        own = [held.index(e) for e in experts if e in held]
        yield tensors[name].movedim(axis, 0), own


def poison(layer, experts):
    with torch.no_grad():
        for stack, own in of_experts(layer, dict(layer.named_parameters()), experts):
            stack[own] = torch.nan


ALWAYS = (DeepSeek, SMoLA, ExpertThreshold)
"""Something of them acts on every token, whatever is masked."""


def padded(layer, x_BTD, mask_BT):
    routing = layer.route(x_BTD, Context(mask_BT))
    return routing, layer.compute(x_BTD, routing)


@routed
def test_single_expert_contributions_add_up_to_the_layer(variant, settings):
    layer, x_BTD = build(variant, settings).double().eval(), tokens().double()
    routing = layer.route(x_BTD, Context())
    whole_BTO = layer.compute(x_BTD, routing)
    base_BTO = layer.compute(x_BTD, routing, torch.zeros(3, 8, dtype=torch.bool))
    assert bool(base_BTO.any()) == (variant in ALWAYS)
    alone = []
    for e in range(8):
        keep_BE = torch.zeros(3, 8, dtype=torch.bool)
        keep_BE[:, e] = True
        alone.append(layer.compute(x_BTD, routing, keep_BE) - base_BTO)
    torch.testing.assert_close(base_BTO + sum(alone), whole_BTO)
    torch.testing.assert_close(layer.compute(x_BTD, routing, torch.ones(3, 8, dtype=torch.bool)), whole_BTO)


@pytest.mark.parametrize("backend", ["loop", "grouped", "padded", "onednn"])
@routed
def test_masked_experts_are_skipped_and_not_multiplied_by_zero(variant, settings, backend):
    layer, x_BTD = build(variant, settings).eval(), tokens()
    choose(layer, backend)
    keep_BE = torch.rand(3, 8, generator=torch.Generator().manual_seed(2)) < 0.5
    keep_BE[:, 0], keep_BE[:, 1] = False, True
    routing = layer.route(x_BTD, Context())
    before_BTO = layer.compute(x_BTD, routing, keep_BE)
    sick = copy.deepcopy(layer)
    poison(sick, [0])
    assert torch.equal(sick.compute(x_BTD, sick.route(x_BTD, Context()), keep_BE), before_BTO)
    # One input may keep what another must not see.
    keep_BE[0, 0] = True
    after_BTO = sick.compute(x_BTD, sick.route(x_BTD, Context()), keep_BE)
    torch.testing.assert_close(
        after_BTO[1:], before_BTO[1:], rtol=0, atol=1e-6 if backend in ("padded", "onednn") else 0
    )


@routed
def test_mask_has_gradients_of_kept_experts_alone(variant, settings):
    layer, x_BTD = build(variant, settings).eval(), tokens()
    keep_BE = torch.tensor([True, False] * 4).expand(3, -1)
    layer.compute(x_BTD, layer.route(x_BTD, Context()), keep_BE).sum().backward()
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in layer.named_parameters()}
    assert not any(stack[own].any() for stack, own in of_experts(layer, gradients, [1, 3, 5, 7]))
    kept = [stack[own] for stack, own in of_experts(layer, gradients, [0, 2, 4, 6]) if own]
    assert all(stack.any() for stack in kept)


@routed
def test_padding_changes_nothing_for_other_tokens(variant, settings):
    layer = build(variant, settings).double()
    if "noise_std" in settings:
        layer.eval()
    mask_BT = torch.arange(7) < torch.tensor([[7], [4], [1]])
    x_BTD, other_BTD = tokens().double(), 9 * tokens(seed=5).double()
    first, y_BTO = padded(layer, x_BTD, mask_BT)
    second, z_BTO = padded(layer, x_BTD.where(mask_BT.unsqueeze(-1), other_BTD), mask_BT)
    torch.testing.assert_close(y_BTO[mask_BT], z_BTO[mask_BT])
    torch.testing.assert_close(first.mass_BE, second.mass_BE)
    assert first.losses.keys() == second.losses.keys()
    for name in first.losses:
        torch.testing.assert_close(first.losses[name], second.losses[name])
    assert variant in ALWAYS or not y_BTO[~mask_BT].any()
    for b, length in enumerate((7, 4, 1)):
        short_BTD = x_BTD[b : b + 1, :length]
        alone = layer.route(short_BTD, Context())
        torch.testing.assert_close(layer.compute(short_BTD, alone)[0], y_BTO[b, :length])
        torch.testing.assert_close(alone.mass_BE[0], first.mass_BE[b])


@pytest.mark.parametrize("shape", [SHAPE, GATED], ids=["gelu", "swiglu"])
@pytest.mark.parametrize("backend", ["grouped", "padded", "onednn", "auto"])
@routed
def test_a_backend_is_the_loop_in_outputs_losses_and_every_gradient(variant, settings, backend, shape):
    found = []
    for name in ("loop", backend):
        layer, x_BTD = build(variant, settings, shape=shape), tokens().requires_grad_()
        choose(layer, name)
        torch.manual_seed(3)  # noise, where there is any
        routing = layer.route(x_BTD, Context())
        y_BTO = layer.compute(x_BTD, routing)
        probe_BTO = torch.randn(y_BTO.shape, generator=torch.Generator().manual_seed(4))
        loss = (y_BTO * probe_BTO).sum() + sum(routing.losses.values())
        wanted = [x_BTD, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
        found.append([y_BTO, loss, *torch.autograd.grad(loss, wanted)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["loop", "grouped", "padded", "onednn"])
@pytest.mark.parametrize("settings", [{"capacity": 0.8}, dict(PRESETS["switch"]), dict(PRESETS["v_moe"])], ids=str)
def test_rows_of_nobody_as_on_a_gpu_change_no_output_and_no_gradient(settings, backend, monkeypatch):
    """There dropped choices keep a row, whoever works on it, because how many there are is not asked."""
    found = []
    for cut in (True, False):
        monkeypatch.setattr(experts, "plan_dispatch", lambda *args, here=cut, **_: plan_dispatch(*args, cut=here))
        layer, x_BTD = build(SparseTopK, settings), tokens().requires_grad_()
        choose(layer, backend)
        torch.manual_seed(3)
        routing = layer.route(x_BTD, Context())
        assert not routing.kept_BTK.all(), "something is dropped"
        loss = layer.compute(x_BTD, routing).square().sum()
        found.append([loss, *torch.autograd.grad(loss, [x_BTD, *layer.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["loop", "grouped", "padded", "onednn"])
@every
def test_training_is_the_same_bit_for_bit(variant, settings, backend):
    def train():
        layer = build(variant, settings)
        choose(layer, backend)
        optimizer = torch.optim.AdamW([p for p in layer.parameters() if p.requires_grad], lr=1e-2)
        for step in range(2):
            x_BTD = tokens(seed=step)
            routing = layer.route(x_BTD, Context())
            y_BTO = layer.compute(x_BTD, routing)
            (y_BTO.square().mean() + sum(routing.losses.values())).backward()
            optimizer.step()
            optimizer.zero_grad()
            layer.after_step()
        return layer.state_dict()

    first, second, start = train(), train(), build(variant, settings).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    fixed = {"router.weight_DE"}
    frozen = {RandomRouter: fixed, RandomBalanced: fixed, HashPosition: {"router.expert_PK"}}.get(variant, set())
    assert {name for name in first if torch.equal(first[name], start[name])} == frozen


@pytest.mark.parametrize("variant", [*dict.fromkeys(variant for variant, _ in ALL), MuMoECP, MuMoETR])
def test_claims_hold_at_the_defaults(variant):
    layer, x_BTD = build(variant, {}).eval(), tokens()
    claims, y_BTO = variant(), layer(tokens())
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert claims.token_equivariant == torch.allclose(layer(x_BTD[:, order]), y_BTO[:, order], atol=1e-6)
    later_BTD = torch.cat([x_BTD[:, :4], tokens(seed=8)[:, 4:]], 1)
    assert claims.causal == torch.allclose(layer(later_BTD)[:, :4], y_BTO[:, :4], atol=1e-6)


@routed
def test_all_backends_count_the_same_flops(variant, settings):
    layer, x_BTD = variant().layer(LayerShape(dim=8, out_dim=8, tokens=None), 20, settings).eval(), tokens()
    keep_BE = torch.tensor([True, False] * 4).expand(3, -1)

    def counted(backend, keep):
        choose(layer, backend)
        with FlopCounterMode(display=False) as counter:
            layer.compute(x_BTD, nominal_routing(layer, x_BTD), keep)
        return counter.get_total_flops()

    assert counted("loop", None) == counted("grouped", None) > 0
    assert counted("loop", keep_BE) == counted("grouped", keep_BE) < counted("loop", None)


def space_of(variant):
    shape = LayerShape(dim=64, out_dim=64, tokens=16, depth=2)
    return shape, variant().space(shape)


def test_tuning_never_picks_the_ports_layer():
    _, space = space_of(SoftMoE)
    assert space["slots_from_normalised_tokens"] == Choice((False,))
    assert space["normalise"] == Choice((False, True))


def test_dense_has_nothing_to_tune():
    assert space_of(Dense)[1] == {}


@pytest.mark.parametrize("variant", [SparseTopK, RandomRouter])
def test_space_never_renormalises_one_choice(variant):
    _, space = space_of(variant)
    assert min(space["top_k"].options) > 1
    assert space["capacity"].options == (None,)


@routed
def test_active_parameters_leave_out_idle_experts(variant, settings):
    layer = build(variant, settings)
    each = {SMoLA: 8 * 4 + 4 * 6, LatentMoE: 4 * 5 + 5 + 5 * 4 + 4}.get(variant, 8 * 5 + 5 + 5 * 6 + 6)
    total = sum(p.numel() for p in layer.parameters())
    assert set(layer.expert_parameters().values()) == {0}
    assert sum(layer.get_parameter(name).numel() for name in layer.expert_parameters()) == 8 * each
    busy = {SoftMoE: 8, SMoLA: 8, ExpertChoice: settings.get("capacity", 2), DeepSeek: 3, ExpertThreshold: 3}
    idle = 8 - busy.get(variant, settings.get("top_k", 2))
    assert active_parameters(layer) == total - int(idle * each)


@every
def test_a_gated_activation_gives_every_mlp_a_third_matrix(variant, settings):
    """At one hidden width: D more weights and a bias for each hidden unit, and all of it learns."""
    torch.manual_seed(0)
    plain, gated = (variant().layer(shape, 5, settings) for shape in (SHAPE, GATED))
    more = sum(p.numel() for p in gated.parameters()) - sum(p.numel() for p in plain.parameters())
    banks = [m for m in plain.modules() if isinstance(m, experts.Experts) and not m.linear]
    hidden = sum(bank.w_out_EHO.shape[:2].numel() for bank in banks) or plain.linear_out.in_features
    assert more == hidden * ((4 if variant is LatentMoE else 8) + 1)
    x_BTD = tokens()
    y_BTO = gated.compute(x_BTD, gated.route(x_BTD, Context()))
    assert y_BTO.shape == (3, 7, 6)
    y_BTO.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in gated.parameters() if p.requires_grad)


def test_dense_with_swiglu_is_the_published_layer():
    """silu(x W) * (x V), then W2 (Shazeer, arXiv 2002.05202, equation 6), by hand."""
    torch.manual_seed(0)
    layer = Dense().layer(GATED, 5, {})
    x_BTD = tokens()
    gate, up = (layer.linear_in.weight[first::2] for first in (0, 1))
    of_gate, of_up = (layer.linear_in.bias[first::2] for first in (0, 1))
    hidden = torch.nn.functional.silu(x_BTD @ gate.T + of_gate) * (x_BTD @ up.T + of_up)
    wanted = hidden @ layer.linear_out.weight.T + layer.linear_out.bias
    torch.testing.assert_close(layer.compute(x_BTD, layer.route(x_BTD, Context())), wanted)
