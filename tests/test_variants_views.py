"""MMoE, PLE and HoME: numbers worked by hand, public code with the same weights, and what views share."""

import pytest
import torch
from torch.nn import functional as F

from moebench.contract import Context, LayerShape
from moebench.hosts.host import Call
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moevariants.home import HoMELevel
from moevariants.parts.experts import Experts

PAIR = LayerShape(dim=2, out_dim=2, tokens=1, activation="relu", bias=False, views=("a", "b"))
NINE = LayerShape(dim=6, out_dim=6, tokens=3, activation="relu", views=("x/a", "x/b", "y/c"))
ALL = [
    ("mmoe", {"experts": 4}),
    ("ple", {"own": 2, "shared": 1}),
    ("ple", {"own": 1, "shared": 2, "levels": 2}),
    ("home", {}),
    ("home", {"experts": 1}),
    ("home", {"hierarchy": False}),
    ("home", {"feature_gates": False}),
    ("home", {"self_gates": False}),
]


def built(name, shape, settings, size=5):
    torch.manual_seed(0)
    return load_variant(find_variant(name)).layer(shape, size, settings).eval()


def x_of(shape, batch=4):
    return torch.randn(batch, shape.tokens, shape.dim, generator=torch.Generator().manual_seed(1))


def scaled_identity(bank, *factors):
    """Expert e gives factor e times the positive part of its input."""
    with torch.no_grad():
        for e, factor in enumerate(factors):
            bank.w_in_EDH[e] = torch.eye(2)
            bank.w_out_EHO[e] = factor * torch.eye(2)


THIRD = torch.tensor([[1.0, 0.0], [0.0, 0.0]]) * torch.log(torch.tensor(3.0))
"""Logits (ln 3 x_0, 0) of x = (1, 2): a softmax of 3/4 and 1/4."""


def test_mmoe_by_hand():
    layer = built("mmoe", PAIR, {"experts": 2}, size=2)
    scaled_identity(layer.experts, 1.0, 10.0)
    with torch.no_grad():
        layer.gate_VDE[0], layer.gate_VDE[1] = THIRD, 0
    # View a: 3/4 x 1 + 1/4 x 10 = 3.25 times x; view b: 1/2 + 5 = 5.5 times.
    y_BVTO = layer(torch.tensor([[[1.0, 2.0]]]))
    assert torch.allclose(y_BVTO, torch.tensor([[[[3.25, 6.5]], [[5.5, 11.0]]]]))


def test_one_level_of_ple_by_hand():
    layer = built("ple", PAIR, {"own": 1, "shared": 1}, size=2)
    (level,) = layer.levels
    scaled_identity(level.own, 1.0, 2.0)
    scaled_identity(level.shared, 10.0)
    with torch.no_grad():
        level.gate_VDn[0], level.gate_VDn[1] = THIRD, 0
    # View a: 3/4 of its own 1 and 1/4 of the shared 10; view b: half of its own 2 and half of 10.
    y_BVTO = layer(torch.tensor([[[1.0, 2.0]]]))
    assert torch.allclose(y_BVTO, torch.tensor([[[[3.25, 6.5]], [[6.0, 12.0]]]]))


def test_two_levels_of_ple_by_hand():
    layer = built("ple", PAIR, {"own": 1, "shared": 1, "levels": 2}, size=2)
    for level in layer.levels:
        scaled_identity(level.own, 1.0, 2.0)
        scaled_identity(level.shared, 10.0)
        with torch.no_grad():
            level.gate_VDn.zero_()
    with torch.no_grad():
        layer.levels[0].shared_gate_1DE.zero_()
    # First level: a (1 + 10) / 2 = 5.5, b (2 + 10) / 2 = 6, shared (1 + 2 + 10) / 3 = 13/3 times x.
    # Second: a (5.5 x 1 + 13/3 x 10) / 2, b (6 x 2 + 13/3 x 10) / 2.
    x_BTD = torch.tensor([[[1.0, 2.0]]])
    want_V = torch.tensor([(5.5 + 130 / 3) / 2, (12 + 130 / 3) / 2])
    assert torch.allclose(layer(x_BTD), want_V[None, :, None, None] * x_BTD)
    # Ways of a's own expert of the first level to a: half by its own gate, half of a third by the shared.
    ways_E = layer.route(x_BTD, Context()).combine_BVTE[0, 0, 0]
    assert torch.allclose(ways_E, torch.tensor([0.25 + 1 / 6, 1 / 6, 0.25 + 1 / 6, 0.5, 0, 0.5]))


def home_by_loops(layer, x_D):
    """y_VO of one token, straight from the equations of the docstring, expert by expert."""

    def expert(level, e, v_D):
        hidden = F.relu(v_D @ level.experts.w_in_EDH[e] + level.experts.b_in_EH[e])
        out = hidden @ level.experts.w_out_EHO[e] + level.experts.b_out_EO[e]
        normed = (out - out.mean()) / torch.sqrt(out.var(correction=0) + 1e-5) * level.scale_EO[e] + level.shift_EO[e]
        return normed * torch.sigmoid(normed)

    def group(level, g, v_D):
        if not isinstance(level.features, torch.nn.Identity):
            gate, mix = level.features, 0
            share = torch.softmax(v_D @ gate.mix_GDi[g], 0)
            rank = gate.up_GirD.shape[2]
            for i in range(2):
                low = v_D @ gate.down_GDr[g][:, i * rank : (i + 1) * rank]
                mix = mix + share[i] * 2 * torch.sigmoid(low @ gate.up_GirD[g, i])
            v_D = v_D * mix
        n = level.each
        return [expert(level, g * n + i, v_D) for i in range(n)]

    def gated(level, v, read_F, outs, own):
        share = torch.softmax(read_F @ level.gate_VFn[v], 0)
        y = sum(s * out for s, out in zip(share, outs, strict=True))
        if level.self_VFn is not None:
            logits = read_F @ level.self_VFn[v]
            share = torch.sigmoid(logits) if len(logits) == 1 else torch.softmax(logits, 0)
            y = y + sum(s * out for s, out in zip(share, own, strict=True))
        return y

    category, first = layer.category, layer.levels[0]
    if len(layer.levels) == 1:
        groups = [group(first, g, x_D) for g in range(len(category) + 1)]
        return torch.stack([gated(first, v, x_D, groups[v] + groups[-1], groups[v]) for v in range(len(category))])
    count = max(category) + 1
    groups = [group(first, g, x_D) for g in range(count + 1)]
    z = [gated(first, c, x_D, groups[c] + groups[-1], groups[c]) for c in range(count)]
    share = torch.ones(1) if first.shared_1Fn is None else torch.softmax(x_D @ first.shared_1Fn[0], 0)
    z_shared = sum(s * out for s, out in zip(share, groups[-1], strict=True))
    top, views, y = layer.levels[1], len(category), []
    of_categories = [group(top, views + c, z[c]) for c in range(count)]
    of_shared = group(top, views + count, z_shared)
    for v, c in enumerate(category):
        own = group(top, v, z[c])
        y.append(gated(top, v, torch.cat([z[c], z_shared]), own + of_categories[c] + of_shared, own))
    return torch.stack(y)


@pytest.mark.parametrize("settings", [settings for name, settings in ALL if name == "home"], ids=str)
def test_home_is_its_equations(settings):
    layer, x_BTD = built("home", NINE, settings), x_of(NINE)
    with torch.no_grad():
        for level in layer.levels:
            level.scale_EO.add_(0.3 * torch.randn(level.scale_EO.shape))
            level.shift_EO.add_(0.3 * torch.randn(level.shift_EO.shape))
        got_BVTO = layer(x_BTD)
        want_BTVO = torch.stack([torch.stack([home_by_loops(layer, x_D) for x_D in x_TD]) for x_TD in x_BTD])
    assert torch.allclose(got_BVTO, want_BTVO.transpose(1, 2), atol=1e-5)


def test_a_feature_gate_by_hand():
    parts = load_variant(find_variant("home")).build(PAIR, 2, experts=1, hierarchy=False, rank=1)
    gate = parts.levels[0].features
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.zero_()
        x = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
        assert torch.equal(gate(x), x)  # 2 sigmoid(0) = 1
        gate.down_GDr[0, 0] = 1.0  # both maps: low = x_0 = 1
        gate.up_GirD[0, :, 0, 0] = torch.log(torch.tensor(3.0))
        # 2 sigmoid(ln 3) = 1.5 for the first feature of the first group, all else 1.
        assert torch.allclose(gate(x)[0, :, 0], torch.tensor([[1.5, 2.0], [1.0, 2.0], [1.0, 2.0]]))


def test_a_target_never_sees_another_categorys_experts():
    layer, x_BTD = built("home", NINE, {}), x_of(NINE)
    combine_BVTE = layer.route(x_BTD, Context()).combine_BVTE
    # Two experts a group. First level: category x, category y, shared. Second: a, b, c, x, y, shared.
    of_y, of_a = [2, 3, 6 + 4, 6 + 5, 6 + 8, 6 + 9], [6, 7]
    assert not combine_BVTE[:, 0][..., of_y].any()
    assert not combine_BVTE[:, 1][..., of_a].any()
    assert (combine_BVTE[:, 2][..., of_y] > 0).all()


@pytest.mark.parametrize(("name", "settings"), ALL, ids=str)
def test_experts_work_once_for_all_views(name, settings, monkeypatch):
    rows = []
    whole = Experts.forward_slots
    monkeypatch.setattr(Experts, "forward_slots", lambda bank, x: rows.append(x.shape[:2]) or whole(bank, x))
    layer, x_BTD = built(name, NINE, settings), x_of(NINE)
    assert layer(x_BTD).shape == (4, 3, 3, 6)
    assert sum(experts for experts, _ in rows) == layer.num_experts
    assert {each for _, each in rows} == {4 * 3}


@pytest.mark.parametrize(("name", "settings"), ALL, ids=str)
def test_a_mask_leaves_the_weights_and_takes_the_expert(name, settings):
    layer, x_BTD = built(name, NINE, settings), x_of(NINE)
    with torch.no_grad():
        routing = layer.route(x_BTD, Context())
        whole = layer.compute(x_BTD, routing)
        keep_BE = torch.ones(4, layer.num_experts, dtype=torch.bool)
        assert torch.allclose(layer.compute(x_BTD, routing, keep_BE), whole, atol=1e-6)
        keep_BE[0] = False
        masked = layer.compute(x_BTD, routing, keep_BE)
    assert not masked[0].any()
    assert torch.allclose(masked[1:], whole[1:], atol=1e-6)


# Public code, MMOE and PLE of torch-rechub, with the same weights.


def public(kind, shape, size, **numbers):
    pytest.importorskip("torch_rechub", reason="torch-rechub is not installed")
    from torch_rechub.basic.features import DenseFeature
    from torch_rechub.models import multi_task

    params = {"dims": [size, shape.out_dim], "activation": "relu", "dropout": 0.0}
    towers = [{"dims": [4], "activation": "relu", "dropout": 0.0}] * len(shape.views)
    features = [DenseFeature(f"x{place}") for place in range(shape.dim)]
    model = getattr(multi_task, kind)(
        features, ["regression"] * len(shape.views), expert_params=params, tower_params_list=towers, **numbers
    ).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eps = 0.0  # its statistics are 0 and 1 at the start: nothing is left of it
    return model


def copy_experts(mlps, bank):
    """The weights of our experts into theirs, which end in an activation that ours do not have."""
    with torch.no_grad():
        for e, mlp in enumerate(mlps):
            first, second = (module for module in mlp.modules() if isinstance(module, torch.nn.Linear))
            first.weight.copy_(bank.w_in_EDH[e].T)
            first.bias.copy_(bank.b_in_EH[e])
            second.weight.copy_(bank.w_out_EHO[e].T)
            second.bias.copy_(bank.b_out_EO[e])
            mlp.mlp[-2] = torch.nn.Identity()


def copy_gates(mlps, gates):
    with torch.no_grad():
        for mlp, gate_Dn in zip(mlps, gates, strict=True):
            (linear,) = (module for module in mlp.modules() if isinstance(module, torch.nn.Linear))
            linear.weight.copy_(gate_Dn.T)
            linear.bias.zero_()


def towers_see(model, x_BD):
    """What the public model hands to its towers, (B, V, O)."""
    seen = []
    for tower in model.towers:
        tower.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model({f"x{place}": x_BD[:, place] for place in range(x_BD.shape[1])})
    return torch.stack(seen, 1)


FLAT = LayerShape(dim=6, out_dim=6, tokens=1, activation="relu", views=("a", "b", "c"))


def test_mmoe_is_public_code():
    layer, x_BTD = built("mmoe", FLAT, {"experts": 4}), x_of(FLAT)
    model = public("MMOE", FLAT, 5, n_expert=4)
    copy_experts(model.experts, layer.experts)
    copy_gates(model.gates, layer.gate_VDE)
    with torch.no_grad():
        assert torch.allclose(towers_see(model, x_BTD[:, 0]), layer(x_BTD)[:, :, 0], atol=1e-5)


@pytest.mark.parametrize("levels", [1, 2])
def test_ple_is_public_code(levels):
    layer, x_BTD = built("ple", FLAT, {"own": 2, "shared": 3, "levels": levels}), x_of(FLAT)
    model = public("PLE", FLAT, 5, n_level=levels, n_expert_specific=2, n_expert_shared=3)
    for ours, theirs in zip(layer.levels, model.cgc_layers, strict=True):
        copy_experts(theirs.experts_specific, ours.own)
        copy_experts(theirs.experts_shared, ours.shared)
        copy_gates(theirs.gates_specific, ours.gate_VDn)
        if ours.shared_gate_1DE is not None:
            copy_gates([theirs.gate_shared], ours.shared_gate_1DE)
    with torch.no_grad():
        assert torch.allclose(towers_see(model, x_BTD[:, 0]), layer(x_BTD)[:, :, 0], atol=1e-5)


def test_a_level_without_a_shared_gate_has_none():
    level = built("home", FLAT, {"hierarchy": False}).levels[0]
    assert isinstance(level, HoMELevel)
    assert level.shared_1Fn is None


def test_views_reach_the_towers():
    """In the host each target's tower reads its own view, and one output serves all towers where there are no views."""
    from moebench.hosts.build import build_model
    from moebench.hosts.registry import host_settings, layer_shapes
    from moebench.tasks import get_task

    task = get_task("correlated").info
    host = host_settings({"name": "tabular", "dim": 8})
    assert layer_shapes(host, task)[0].views == ("first", "second")
    x_NF = torch.randn(5, 64)
    with torch.no_grad():
        for name in ("mmoe", "dense"):
            variant = load_variant(find_variant(name))
            model = build_model(host, task, variant, [4], {}, seed=0).eval()
            before = model.run(x_NF, Call())
            model.towers[1].linear_in.weight.add_(1.0)
            after = model.run(x_NF, Call())
            assert torch.equal(before["first"], after["first"])
            assert not torch.equal(before["second"], after["second"])
        layer = build_model(host, task, load_variant(find_variant("mmoe")), [4], {}, seed=0).eval()
        before = layer.run(x_NF, Call())
        layer.layers()[0].gate_VDE[1].add_(torch.randn(8, 8))
        after = layer.run(x_NF, Call())
    assert torch.equal(before["first"], after["first"])
    assert not torch.equal(before["second"], after["second"])
