"""Merging, compressing and pruning of one trained layer, held to hand-worked numbers and to the layer as it was."""

import copy
import itertools
import re

import pytest
import torch

from hand_made import installed
from moebench.contract import Context, LayerShape
from moebench.hosts.host import restrict
from moebench.measures.compression import Met, load_compressor
from moevariants.compressors.factored import FactoredExperts, low_rank_plus_columns
from moevariants.compressors.merge import aligned, dominant_of, shares
from moevariants.compressors.prune import best, saliency
from moevariants.parts.experts import Experts

SHAPE = LayerShape(dim=6, out_dim=6, tokens=5)
HIDDEN = 4
METHODS = ("merge", "merge_compress", "prune_reap", "prune_usage", "prune_random")


def layer_of(name="sparse_topk", *, experts=4, shape=SHAPE, size=HIDDEN, seed=0, **settings):
    """A layer in evaluation, in float64, whose biases are as large as its weights."""
    torch.manual_seed(seed)
    return installed(name).layer(shape, size, {"experts": experts, **settings}).double().eval()


def met_by(layer, inputs=30, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x_BTD = torch.randn(inputs, SHAPE.tokens, SHAPE.dim, generator=generator).double()
    with torch.no_grad():
        return Met(layer, x_BTD, layer.route(x_BTD, Context()))


def smaller(name, met, keep, **settings):
    return load_compressor(name).compress(met, keep, settings, torch.Generator().manual_seed(2))


@torch.no_grad()
def permute(experts, which, order_H):
    """Give the hidden units of one expert another order, which changes nothing that it computes."""
    experts.w_in_EDH[which] = experts.w_in_EDH[which][:, order_H].clone()
    experts.b_in_EH[which] = experts.b_in_EH[which][order_H].clone()
    experts.w_out_EHO[which] = experts.w_out_EHO[which][order_H].clone()


@torch.no_grad()
def make_copies(experts, of=0, seed=3):
    """Every expert the same function, each with its units in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    for stack in experts.stacks:
        stack.copy_(stack[of].expand_as(stack).clone())
    for expert in range(experts.count):
        if expert != of:
            permute(experts, expert, torch.randperm(HIDDEN, generator=generator))


# Alignment


def test_a_permuted_copy_of_an_expert_merges_back_to_itself():
    layer = layer_of()
    make_copies(layer.experts)
    met = met_by(layer)
    merged = smaller("merge", met, 1)
    dominant = int(met.usage_E.argmax())
    for now, then in zip(merged.experts.stacks, layer.experts.stacks, strict=True):
        torch.testing.assert_close(now[0], then[dominant], rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(merged(met.x_BTD), layer(met.x_BTD), rtol=1e-12, atol=1e-13)


def test_without_alignment_it_does_not():
    layer = layer_of()
    make_copies(layer.experts)
    met = met_by(layer)
    assert (smaller("merge", met, 1, align=False)(met.x_BTD) - layer(met.x_BTD)).abs().max() > 0.01


def test_units_are_put_in_the_order_of_the_references_by_hand():
    """Expert 1 has the units of expert 0 the other way round, a little off."""
    experts = Experts(2, LayerShape(dim=1, out_dim=1, tokens=1), 2).double()
    with torch.no_grad():
        experts.w_in_EDH.copy_(torch.tensor([[[1.0, 5.0]], [[5.5, 0.75]]]))
        experts.b_in_EH.copy_(torch.tensor([[0.125, 0.25], [0.5, 0.0]]))
        experts.w_out_EHO.copy_(torch.tensor([[[2.0], [-3.0]], [[-3.5], [2.25]]]))
        experts.b_out_EO.copy_(torch.tensor([[7.0], [8.0]]))
    w_in, b_in, w_out, b_out = aligned(experts, torch.tensor([0, 0]))
    assert w_in.tolist() == [[[1.0, 5.0]], [[0.75, 5.5]]]
    assert b_in.tolist() == [[0.125, 0.25], [0.0, 0.5]]
    assert w_out.tolist() == [[[2.0], [-3.0]], [[2.25], [-3.5]]]
    assert b_out.tolist() == [[7.0], [8.0]]


def test_a_gate_stays_with_its_unit():
    """Of a gated MLP: expert 1 has the two units of expert 0 the other way round, each as (gate, up)."""
    experts = Experts(2, LayerShape(dim=1, out_dim=1, tokens=1, activation="swiglu"), 2).double()
    with torch.no_grad():
        experts.w_in_EDH.copy_(torch.tensor([[[1.0, 2.0, 5.0, 6.0]], [[5.0, 6.0, 1.0, 2.0]]]))
        experts.b_in_EH.copy_(torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.1, 0.2]]))
        experts.w_out_EHO.copy_(torch.tensor([[[2.0], [-3.0]], [[-3.0], [2.0]]]))
    w_in, b_in, w_out, _ = aligned(experts, torch.tensor([0, 0]))
    for stack in (w_in, b_in, w_out):
        assert torch.equal(stack[0], stack[1])


def test_biases_have_a_say_in_the_order():
    """Units that differ in nothing but their biases."""
    experts = Experts(2, LayerShape(dim=1, out_dim=1, tokens=1), 2).double()
    with torch.no_grad():
        experts.w_in_EDH.fill_(1.0)
        experts.w_out_EHO.fill_(1.0)
        experts.b_in_EH.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    _, b_in, _, _ = aligned(experts, torch.tensor([0, 0]))
    assert b_in.tolist() == [[1.0, -1.0], [1.0, -1.0]]


def agreement(stacks, others):
    """<W_in, W_in'> + <b_in, b_in'> + <W_out, W_out'> of two experts."""
    pairs = zip(stacks[:3], others[:3], strict=True)
    return sum(float((one * other).sum()) for one, other in pairs if one is not None)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_the_order_is_the_best_of_all(bias):
    torch.manual_seed(4)
    experts = Experts(3, LayerShape(dim=5, out_dim=3, tokens=1, bias=bias), HIDDEN).double()
    found = aligned(experts, torch.tensor([0, 0, 0]))
    first, *others = experts.stacks.unbind()
    for expert, (w_in_DH, b_in_H, w_out_HO, _) in enumerate(others, 1):
        orders = map(list, itertools.permutations(range(HIDDEN)))
        tried = [(w_in_DH[:, o], b_in_H[o] if bias else None, w_out_HO[o]) for o in orders]
        ours = [None if stack is None else stack[expert] for stack in found]
        assert agreement(first, ours) == pytest.approx(max(agreement(first, each) for each in tried), rel=1e-12)


# Groups and weights


class Logits(torch.nn.Module):
    """A router that says the same whatever it is shown."""

    def __init__(self, logits_TE):
        super().__init__()
        self.logits_TE = torch.tensor(logits_TE, dtype=torch.float64)

    def forward(self, x_BTD):
        return self.logits_TE.expand(len(x_BTD), -1, -1)


def told(logits_TE, **settings):
    """A layer with these logits for the tokens of every input."""
    layer = layer_of(experts=len(logits_TE[0]), **settings)
    layer.router = Logits(logits_TE)
    return met_by(layer, inputs=2)


FIVE_TOKENS = [[9, 1, 8, 0], [9, 2, 8, 0], [9, 1, 8, 1], [0, 9, 1, 8], [1, 9, 0, 8]]
"""Three tokens for experts 0 and 2, two for 1 and 3; 2 is like 0, and 3 like 1."""


def test_usage_is_the_share_of_choices():
    met = told(FIVE_TOKENS)
    assert met.usage_E.tolist() == pytest.approx([0.3, 0.2, 0.3, 0.2])


def test_experts_join_the_dominant_one_that_the_router_treats_most_alike():
    met = told([[9, 8, 1, 0], [9, 8, 1, 1], [9, 1, 8, 0], [1, 0, 9, 8], [0, 1, 9, 8]])
    assert met.usage_E.tolist() == pytest.approx([0.3, 0.2, 0.3, 0.2])
    assert dominant_of(met.layer, met, 2).tolist() == [0, 0, 2, 2]
    assert dominant_of(met.layer, met, 4).tolist() == [0, 1, 2, 3]
    assert dominant_of(met.layer, met, 1).tolist() == [0, 0, 0, 0]


def test_likeness_is_of_direction_and_not_of_size():
    """Expert 1 is half of expert 2, and its product with expert 0, which is large, is larger."""
    met = told([[9, 1.5, 3, 0], [9, 1.5, 3, 0], [9, -0.5, -1, 0], [9, 1.5, 3, 0], [9, 1.5, 3, 0]])
    assert met.usage_E.argsort(descending=True)[:2].tolist() == [0, 2]
    assert dominant_of(met.layer, met, 2).tolist()[:3] == [0, 2, 2]


def test_members_weigh_by_usage_and_equally_where_nobody_was_used():
    group_E = torch.tensor([0, 0, 1, 1])
    usage_E = torch.tensor([0.6, 0.2, 0.0, 0.0], dtype=torch.float64)
    wanted = torch.tensor([[0.75, 0.25, 0, 0], [0, 0, 0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(shares(usage_E, group_E, 2), wanted)


def test_the_merged_weights_are_the_average_by_hand():
    met = told(FIVE_TOKENS)
    merged = smaller("merge", met, 2, align=False)
    # By cosine 2 joins 0 where both stay as the two dominant ones; then 1 and 3 join what is nearest.
    dominant_E = dominant_of(met.layer, met, 2)
    _, group_E = torch.unique(dominant_E, return_inverse=True)
    for expert in range(2):
        members = [e for e in range(4) if int(group_E[e]) == expert]
        total = sum(float(met.usage_E[e]) for e in members)
        w_in = sum(float(met.usage_E[e]) / total * met.layer.experts.w_in_EDH[e] for e in members)
        torch.testing.assert_close(merged.experts.w_in_EDH[expert], w_in)


# The layer that comes of it


def test_a_token_that_chose_two_members_takes_one_row_with_both_weights():
    met = told(FIVE_TOKENS)
    merged = smaller("merge", met, 1)
    routing = merged.route(met.x_BTD, Context())
    assert routing.kept_BTK.sum(-1).unique().tolist() == [1]
    torch.testing.assert_close(routing.mass_BE, torch.full_like(routing.mass_BE, SHAPE.tokens))
    expert = merged.experts
    hidden = torch.nn.functional.gelu(met.x_BTD @ expert.w_in_EDH[0] + expert.b_in_EH[0])
    torch.testing.assert_close(merged(met.x_BTD), hidden @ expert.w_out_EHO[0] + expert.b_out_EO[0])


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_pruned_layers_are_the_trained_one_among_the_experts_that_stay(keep):
    """Exactly what the rule ``mask_logits`` gives of the layer as it was."""
    layer = layer_of(experts=6)
    met = met_by(layer)
    pruned = smaller("prune_usage", met, keep)
    keep_BE = pruned.open_E.expand(len(met.x_BTD), -1)
    assert keep_BE[0].sum() == keep == pruned.num_experts
    wanted = restrict(layer, met.x_BTD, met.routing, keep_BE, "mask_logits")
    torch.testing.assert_close(pruned(met.x_BTD), layer.compute(met.x_BTD, wanted, keep_BE))
    torch.testing.assert_close(pruned.route(met.x_BTD, Context()).mass_BE, wanted.mass_BE[:, pruned.open_E])


def test_a_choice_of_a_closed_expert_is_not_kept_and_open_ones_all_are():
    met = met_by(layer_of(experts=6))
    assert smaller("prune_usage", met, 1).route(met.x_BTD, Context()).kept_BTK.sum(-1).unique().tolist() == [1]
    assert smaller("prune_usage", met, 3).route(met.x_BTD, Context()).kept_BTK is None


def test_the_most_used_stay():
    met = met_by(layer_of(experts=6))
    pruned = smaller("prune_usage", met, 3)
    assert set(pruned.open_E.nonzero().flatten().tolist()) == set(met.usage_E.argsort(descending=True)[:3].tolist())


@torch.no_grad()
def test_saliency_is_the_mean_of_weight_times_norm_over_the_tokens_of_an_expert():
    met = met_by(layer_of(experts=5), inputs=7)
    experts, routing = met.layer.experts, met.routing
    for expert in range(5):
        seen = []
        for b, t, k in (routing.chosen_BTK == expert).nonzero().tolist():
            hidden = torch.nn.functional.gelu(met.x_BTD[b, t] @ experts.w_in_EDH[expert] + experts.b_in_EH[expert])
            answer = hidden @ experts.w_out_EHO[expert] + experts.b_out_EO[expert]
            seen.append(float(routing.weight_BTK[b, t, k] * answer.norm()))
        assert float(saliency(met)[expert]) == pytest.approx(sum(seen) / len(seen))


def test_an_expert_that_nobody_chose_has_no_saliency_and_goes_first():
    met = told([[9, 8, 0], [9, 8, 1]] * 2 + [[9, 8, 2]])
    found = saliency(met)
    assert found[2] == 0
    assert (found[:2] > 0).all()
    assert smaller("prune_reap", met, 2).open_E.tolist() == [True, True, False]


def test_of_equal_scores_the_lower_index_stays():
    met = met_by(layer_of())
    assert best(met, torch.tensor([1.0, 2.0, 1.0, 1.0]), 2).open_E.tolist() == [True, True, False, False]


def test_all_methods_but_factoring_leave_equally_many_parameters():
    met = met_by(layer_of())
    counts = {
        sum(p.numel() for p in smaller(name, met, 2).parameters()) for name in METHODS if name != "merge_compress"
    }
    assert len(counts) == 1
    whole = sum(p.numel() for p in met.layer.parameters())
    experts = sum(p.numel() for p in met.layer.experts.parameters())
    assert counts == {whole - experts // 2}


def test_by_default_compressed_experts_are_smaller():
    layer = layer_of(size=32)
    met = met_by(layer)
    counts = [
        sum(p.numel() for p in smaller(name, met, 2).experts.parameters()) for name in ("merge", "merge_compress")
    ]
    assert counts[1] < counts[0]


def test_nothing_is_left_out_by_keep_all():
    met = met_by(layer_of())
    with pytest.raises(ValueError, match="it keeps all 4 experts of a layer, not 2"):
        smaller("keep_all", met, 2)
    kept = smaller("keep_all", met, 4)
    assert kept is not met.layer
    assert torch.equal(kept(met.x_BTD), met.layer(met.x_BTD))


def test_shared_experts_stay():
    layer = layer_of("deepseek", experts=6, top_k=2)
    met = met_by(layer)
    nobody_BE = torch.zeros(len(met.x_BTD), 6, dtype=torch.bool)
    always = layer.compute(met.x_BTD, met.routing, nobody_BE)
    for name in ("merge", "prune_usage"):
        reduced = smaller(name, met, 3)
        routing = reduced.route(met.x_BTD, Context())
        torch.testing.assert_close(reduced.compute(met.x_BTD, routing, nobody_BE[:, :3]), always)


# Low rank and columns


def test_low_rank_plus_columns_finds_what_is_so_made():
    torch.manual_seed(5)
    low, columns = torch.randn(2, 7, 2).double() @ torch.randn(2, 2, 9).double(), torch.zeros(2, 7, 9).double()
    columns[0, :, 3], columns[1, :, 8] = 50 * torch.randn(7).double(), 50 * torch.randn(7).double()
    found = low_rank_plus_columns(low + columns, rank=2, columns=1)
    assert found.unit_GS.tolist() == [[3], [8]]
    rebuilt = found.u_GIR @ found.v_GRJ
    rebuilt = rebuilt.scatter_add(2, found.unit_GS.unsqueeze(1).expand(-1, 7, -1), found.s_GIS)
    torch.testing.assert_close(rebuilt, low + columns, rtol=1e-6, atol=1e-6)


def test_without_columns_it_is_the_best_low_rank():
    torch.manual_seed(6)
    w_GIJ = torch.randn(1, 6, 8).double()
    found = low_rank_plus_columns(w_GIJ, rank=3, columns=0)
    left = (w_GIJ - found.u_GIR @ found.v_GRJ).square().sum()
    assert float(left) == pytest.approx(float(torch.linalg.svdvals(w_GIJ)[0, 3:].square().sum()))


@pytest.mark.parametrize("bias", [True, False])
def test_factored_experts_are_those_of_the_matrices_that_they_stand_for(bias):
    torch.manual_seed(7)
    experts = Experts(3, LayerShape(dim=5, out_dim=4, tokens=1, bias=bias), 6).double()
    factored = FactoredExperts(experts, rank=2, units=2)
    dense = copy.deepcopy(experts)
    with torch.no_grad():
        for g in range(3):
            dense.w_in_EDH[g] = factored.u_in_GDR[g] @ factored.v_in_GRH[g]
            dense.w_in_EDH[g][:, factored.unit_in_GS[g]] += factored.s_in_GDS[g]
            dense.w_out_EHO[g] = factored.u_out_GHR[g] @ factored.v_out_GRO[g]
            dense.w_out_EHO[g][factored.unit_out_GS[g]] += factored.s_out_GSO[g]
    rows_ND, counts_E = torch.randn(9, 5).double(), torch.tensor([4, 0, 5])
    torch.testing.assert_close(factored.forward_rows(rows_ND, counts_E), dense.forward_rows(rows_ND, counts_E))


def test_at_full_rank_compressing_is_merging():
    met = met_by(layer_of())
    whole = smaller("merge_compress", met, 2, rank=HIDDEN, sparse=0)
    torch.testing.assert_close(whole(met.x_BTD), smaller("merge", met, 2)(met.x_BTD), rtol=1e-9, atol=1e-10)


# Bad input


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("soft_moe", {}, "SoftMoELayer is not a sparse layer of moevariants.parts, in which tokens choose"),
        ("modse", {}, "its experts are not two-layer MLPs of one size"),
        ("sparse_topk", {"capacity": 1.0}, "its experts have a capacity"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_layers_that_it_is_not_for(name, settings, said, method):
    layer = layer_of(name, **settings)
    met = met_by(layer)
    with pytest.raises(ValueError, match=said if name != "soft_moe" else "tokens (do not )?choose"):
        smaller(method, met, 2)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("merge", {"aline": True}, "merge has no setting 'aline'; did you mean 'align'?"),
        ("merge", {"align": 1}, "merge: align must be true or false, not 1"),
        ("merge_compress", {"rank": 5}, "rank must be at most 4"),
        ("merge_compress", {"rank": 0}, "rank must be a whole number of at least 1, not 0"),
        ("merge_compress", {"sparse": 1.5}, "sparse must be a share from 0 to 1, not 1.5"),
        ("prune_reap", {"rank": 2}, "prune_reap has no setting 'rank'; it has: none"),
        ("prune_usage", {"rank": 2}, "prune_usage has no setting 'rank'"),
        ("prune_random", {"seed": 2}, "prune_random has no setting 'seed'"),
        ("keep_all", {"rank": 2}, "keep_all has no setting 'rank'"),
    ],
)
def test_wrong_settings(name, settings, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        smaller(name, met_by(layer_of()), 2, **settings)
    assert "\n" not in str(caught.value)
