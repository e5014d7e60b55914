"""Expert subsets (Algorithm 1 of arXiv 2409.00879) in the built-in layers: exact, per input, and without the rest."""

import copy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from moebench.contract import Context, Layer, LayerShape, Routing
from moebench.errors import UnknownNameError
from moebench.hosts.host import restrict, rules_of
from moebench.measures.subset.scores import contribution_norms, dispatch_weights, masked_norms
from moevariants.dense import Dense
from moevariants.random_router import RandomRouter
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import SparseTopK

LAYERS = [
    (SoftMoE, {"experts": 8}),
    (SoftMoE, {"experts": 8, "slots": 2, "normalise": True}),
    (SparseTopK, {"experts": 8}),
    (SparseTopK, {"experts": 8, "top_k": 3, "capacity": 1.0, "renormalise": False}),
    (RandomRouter, {"experts": 8}),
]
layers = pytest.mark.parametrize(("variant", "settings"), LAYERS, ids=str)
SCRIPT = Path(__file__).parent / "support" / "protected_experts.py"


def build(variant, settings, size=5, seed=0, dtype=torch.float64, **shape):
    torch.manual_seed(seed)
    shape = {"dim": 8, "out_dim": 6, "tokens": None, **shape}
    layer = variant().layer(LayerShape(**shape), size, settings).to(dtype).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def tokens(inputs=5, length=7, dim=8, seed=1, dtype=torch.float64):
    return torch.randn(inputs, length, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uneven(inputs=5, experts=8):
    """Some of the experts, all, none, one, and a random half; expert 3 by nobody but the second input."""
    keep_BE = torch.rand(inputs, experts, generator=torch.Generator().manual_seed(4)) < 0.5
    keep_BE[:, 3] = False
    keep_BE[1], keep_BE[2], keep_BE[3] = True, False, False
    keep_BE[3, 6] = True
    return keep_BE


def without(layer, kept_E):
    """A copy in which the experts that are not kept give 0: their second weight and bias are filled with zeros."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.experts.w_out_EHO[~kept_E] = 0
        other.experts.b_out_EO[~kept_E] = 0
    return other


@pytest.mark.parametrize("backend", ["auto", "loop", "grouped"])
@layers
def test_subset_is_the_layer_with_the_other_outputs_zero(variant, settings, backend):
    layer, x_BTD, keep_BE = build(variant, settings), tokens(), uneven()
    layer.experts.set_backend(backend)
    y_BTO = layer.compute(x_BTD, layer.route(x_BTD, Context()), keep_BE)
    for b, kept_E in enumerate(keep_BE):
        x_1TD = x_BTD[b : b + 1]
        zeroed = without(layer, kept_E)
        torch.testing.assert_close(y_BTO[b : b + 1], zeroed(x_1TD), rtol=1e-12, atol=1e-12)
        alone = layer.compute(x_1TD, layer.route(x_1TD, Context()), keep_BE[b : b + 1])
        torch.testing.assert_close(y_BTO[b : b + 1], alone, rtol=1e-12, atol=1e-12)
    assert not y_BTO[2].any()


@layers
def test_subset_has_the_gradients_of_the_zeroed_layer(variant, settings):
    layer, keep_BE = build(variant, settings), uneven()[:1]
    x_BTD = tokens(1).requires_grad_()
    zeroed = without(layer, keep_BE[0])
    gradients = []
    for module, kept in ((layer, keep_BE), (zeroed, None)):
        y_BTO = module.compute(x_BTD, module.route(x_BTD, Context()), kept)
        names = [name for name, p in module.named_parameters() if p.requires_grad and "_out_" not in name]
        wanted = [x_BTD, *(module.get_parameter(name) for name in names)]
        gradients.append(torch.autograd.grad(y_BTO.square().sum(), wanted))
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect and the signal of a forbidden page")
def test_weights_of_experts_that_nobody_keeps_are_never_read():
    """With their pages out of bounds, for every backend, size, type and way; those of a kept one kill the process."""
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["60", str(int(signal.SIGSEGV)), str(int(signal.SIGSEGV))]


def peak_bytes(work):
    """The most memory held at once beyond what was there, from the profiler's list of allocations."""
    with torch.profiler.profile(profile_memory=True, record_shapes=False) as profile:
        work()
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


@pytest.mark.parametrize(("inputs", "hidden"), [(1, 2048), (16, 2048), (16, 6)])
@pytest.mark.parametrize("variant", [SoftMoE, SparseTopK])
def test_an_eighth_of_the_experts_needs_no_more_memory_than_all(variant, inputs, hidden):
    layer = build(variant, {"experts": 16}, hidden, dtype=torch.float32, dim=512, out_dim=512)
    x_BTD = tokens(inputs, 20, 512, dtype=torch.float32)
    keep_BE = torch.zeros(inputs, 16, dtype=torch.bool)
    keep_BE[
        torch.arange(inputs).unsqueeze(1), torch.stack([torch.arange(inputs) % 16, (torch.arange(inputs) + 5) % 16], 1)
    ] = True
    with torch.inference_mode():
        routing = layer.route(x_BTD, Context())
        layer.compute(x_BTD, routing), layer.compute(x_BTD, routing, keep_BE)
        every = peak_bytes(lambda: layer.compute(x_BTD, routing))
        some = peak_bytes(lambda: layer.compute(x_BTD, routing, keep_BE))
    assert 0 < some <= every


def soft_by_hand():
    """Two tokens, three experts of one slot; combine weights (1/2, 1/3, 1/6) and (1/4, 1/4, 1/2)."""
    layer = build(SoftMoE, {"experts": 3}, dim=2)
    with torch.no_grad():
        layer.router.phi_DS.copy_(torch.log(torch.tensor([[3.0, 2, 1], [1, 1, 2]])))
    return layer, torch.eye(2, dtype=torch.float64).unsqueeze(0)


@pytest.mark.parametrize("rule", ["renormalise", "mask_logits"])
def test_soft_rules_share_out_one_among_the_kept(rule):
    layer, x_BTD = soft_by_hand()
    routing, keep_BE = layer.route(x_BTD, Context()), torch.tensor([[True, False, True]])
    restricted = restrict(layer, x_BTD, routing, keep_BE, rule)
    want = torch.tensor([[[3 / 4, 0, 1 / 4], [1 / 3, 0, 2 / 3]]], dtype=torch.float64)
    torch.testing.assert_close(restricted.combine_BTE, want)
    torch.testing.assert_close(restricted.mass_BE, want.sum(1))
    torch.testing.assert_close(restricted.state.dispatch_BTS, routing.state.dispatch_BTS)
    slots_BSD = routing.state.dispatch_BTS.mT @ x_BTD
    out_END = layer.experts.forward_slots(slots_BSD.transpose(0, 1)).squeeze(1)
    torch.testing.assert_close(layer.compute(x_BTD, restricted, keep_BE)[0], want[0] @ out_END)


def test_soft_rules_are_one_function():
    layer, x_BTD, keep_BE = build(SoftMoE, {"experts": 8, "slots": 2, "normalise": True}), tokens(), uneven()
    mask_BT = torch.arange(7) < torch.tensor([[7], [4], [1], [7], [2]])
    routing = layer.route(x_BTD, Context(mask_BT))
    one, two = (restrict(layer, x_BTD, routing, keep_BE, rule) for rule in ("renormalise", "mask_logits"))
    torch.testing.assert_close(one.combine_BTS, two.combine_BTS, rtol=1e-12, atol=1e-14)
    assert not one.combine_BTS[~mask_BT].any()
    assert not one.mass_BE[~keep_BE].any()


def test_soft_rules_part_where_the_subset_underflows():
    layer, _ = soft_by_hand()
    x_BTD = torch.tensor([[[-2000.0, 0.0]]], dtype=torch.float64)
    routing, keep_BE = layer.route(x_BTD, Context()), torch.tensor([[True, True, False]])
    nothing, something = (restrict(layer, x_BTD, routing, keep_BE, rule) for rule in ("renormalise", "mask_logits"))
    assert not nothing.mass_BE.any()
    torch.testing.assert_close(something.mass_BE[0, :2].sum(), torch.ones((), dtype=torch.float64))


def sparse_by_hand(**settings):
    """One token, logits log(4, 3, 2, 1): probabilities 0.4, 0.3, 0.2, 0.1."""
    layer = build(SparseTopK, {"experts": 4, "top_k": 2, **settings}, dim=1)
    with torch.no_grad():
        layer.router.weight_DE.copy_(torch.log(torch.tensor([[4.0, 3, 2, 1]])))
    return layer, torch.ones(1, 1, 1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "renormalise", "kept", "weights"),
    [
        # Chosen are experts 0 and 1, with weights 4/7 and 3/7, or 0.4 and 0.3 as they are.
        ("renormalise", True, (1, 2, 3), (0, 1, 0, 0)),
        ("renormalise", False, (0, 1), (4 / 7, 3 / 7, 0, 0)),
        ("renormalise", False, (2, 3), (0, 0, 0, 0)),
        # Anew among 1, 2, 3 with probabilities 3/6, 2/6, 1/6: experts 1 and 2.
        ("mask_logits", True, (1, 2, 3), (0, 3 / 5, 2 / 5, 0)),
        ("mask_logits", False, (1, 2, 3), (0, 1 / 2, 1 / 3, 0)),
        ("mask_logits", True, (2,), (0, 0, 1, 0)),
        ("mask_logits", True, (), (0, 0, 0, 0)),
    ],
)
def test_sparse_rules_by_hand(rule, renormalise, kept, weights):
    layer, x_BTD = sparse_by_hand(renormalise=renormalise)
    keep_BE = torch.zeros(1, 4, dtype=torch.bool)
    keep_BE[0, list(kept)] = True
    restricted = restrict(layer, x_BTD, layer.route(x_BTD, Context()), keep_BE, rule)
    want_E = torch.tensor(weights, dtype=torch.float64)
    torch.testing.assert_close(restricted.combine_BTE[0, 0], want_E)
    torch.testing.assert_close(restricted.mass_BE[0], want_E)
    out_EO = layer.experts.forward_slots(x_BTD.expand(4, 1, 1)).squeeze(1)
    torch.testing.assert_close(layer.compute(x_BTD, restricted, keep_BE)[0, 0], want_E @ out_EO)


def test_sparse_choice_among_the_kept_gives_places_anew_and_none_to_padding():
    layer, _ = sparse_by_hand(top_k=1, capacity=2.0)
    x_BTD, mask_BT = torch.ones(1, 4, 1, dtype=torch.float64), torch.tensor([[False, True, True, True]])
    # Three real tokens, ceil(3 * 2 / 4) = 2 places an expert: all want expert 0, then, without it, expert 1.
    routing, keep_BE = layer.route(x_BTD, Context(mask_BT)), torch.tensor([[False, True, True, True]])
    assert routing.kept_BTK[0, :, 0].tolist() == [False, True, True, False]
    restricted = restrict(layer, x_BTD, routing, keep_BE, "mask_logits")
    assert restricted.chosen_BTK[0, :, 0].tolist() == [1, 1, 1, 1]
    assert restricted.kept_BTK[0, :, 0].tolist() == [False, True, True, False]
    assert restrict(layer, x_BTD, routing, keep_BE, "renormalise").mass_BE.sum() == 0


@layers
def test_rules_have_gradients_and_leave_the_routing(variant, settings):
    layer, x_BTD, keep_BE = build(variant, settings), tokens().requires_grad_(), uneven()
    routing = layer.route(x_BTD, Context())
    before = layer.compute(x_BTD, routing).detach()
    for rule in rules_of(layer):
        y_BTO = layer.compute(x_BTD, restrict(layer, x_BTD, routing, keep_BE, rule), keep_BE)
        (grad_BTD,) = torch.autograd.grad(y_BTO.square().sum(), x_BTD, retain_graph=True)
        assert grad_BTD.isfinite().all()
        assert grad_BTD[1].any()
        assert not grad_BTD[2].any()
    torch.testing.assert_close(layer.compute(x_BTD, routing).detach(), before, rtol=0, atol=0)


@pytest.mark.parametrize("variant", [SoftMoE, SparseTopK, RandomRouter])
def test_a_rule_that_is_not_there_is_named(variant):
    layer, x_BTD = build(variant, {}), tokens()
    with pytest.raises(
        UnknownNameError, match=r"unknown combination rule 'renormalize' in .*did you mean 'renormalise'"
    ):
        restrict(layer, x_BTD, layer.route(x_BTD, Context()), uneven(), "renormalize")


def test_a_layer_without_rules_experts_or_weights_says_so():
    layer, x_BTD = build(Dense, {}), tokens()
    routing = layer.route(x_BTD, Context())
    with pytest.raises(UnknownNameError, match="unknown combination rule 'renormalise' in DenseLayer"):
        restrict(layer, x_BTD, routing, uneven(), "renormalise")
    assert routing.combine_BTE is None
    assert dispatch_weights(layer, routing) is None
    assert contribution_norms(layer, x_BTD, routing) is None


def test_dispatch_weights_are_the_largest_over_slots():
    layer, x_BTD = build(SoftMoE, {"experts": 4, "slots": 2}), tokens()
    routing = layer.route(x_BTD, Context())
    dispatch_BTS = (x_BTD @ layer.router.phi_DS).softmax(1)
    torch.testing.assert_close(
        dispatch_weights(layer, routing), torch.maximum(dispatch_BTS[..., 0::2], dispatch_BTS[..., 1::2])
    )
    sparse = build(SparseTopK, {})
    assert dispatch_weights(sparse, sparse.route(x_BTD, Context())) is None


@layers
def test_contribution_norms_are_those_of_single_experts(variant, settings):
    layer, x_BTD = build(variant, settings), tokens()
    routing = layer.route(x_BTD, Context(torch.arange(7) < torch.tensor([[7], [4], [1], [7], [2]])))
    norm_BE = contribution_norms(layer, x_BTD, routing)
    want = [[0.0] * 8 for _ in range(5)]
    for b in range(5):
        for e in range(8):
            keep_BE = torch.zeros(5, 8, dtype=torch.bool)
            keep_BE[b, e] = True
            want[b][e] = sum(
                float(y_O.detach().square().sum().sqrt()) for y_O in layer.compute(x_BTD, routing, keep_BE)[b]
            )
    torch.testing.assert_close(norm_BE, torch.tensor(want, dtype=torch.float64))
    torch.testing.assert_close(norm_BE, masked_norms(layer, x_BTD, routing))
    assert not norm_BE.requires_grad


def test_contribution_norms_leave_shared_parts_out():
    class Shared(Layer):
        num_experts = 2

        def route(self, x_BTD, context):
            return Routing.soft(x_BTD.new_ones(*x_BTD.shape[:2], 2))

        def compute(self, x_BTD, routing, keep_BE=None):
            return 10.0 + x_BTD * (keep_BE * torch.tensor([3.0, 4.0])).sum(1)[:, None, None]

    x_BTD = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    norm_BE = contribution_norms(Shared(), x_BTD, Shared().route(x_BTD, Context()))
    torch.testing.assert_close(norm_BE, torch.tensor([[18.0, 24.0]]))
