"""Layers beside public implementations of them, and beside dense layers: ratios of times, in turns.

What is asked for is in the table, with what was not met. What is asserted is less: it holds on processors whose
products by oneDNN are twice as fast as torch's, and on those where they are not.
"""

from __future__ import annotations

from functools import lru_cache, partial
from importlib.util import find_spec

import peers
import pytest
import routing
import torch
from ledger import Row
from sizes import BROAD, FEW, FINE, LARGE, MANY, NARROW, ON_CUDA, SOFT, TINY, WIDE_6, WIDE_8, Size
from turns import GRAPH, PASSES, WAYS, take_turns, works_of

from moebench.contract import Context, LayerShape
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moevariants.backends import grouped
from moevariants.mu_moe import MuMoECP
from moevariants.parts import onednn
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import SparseTopK

# Those of the peers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROUNDS = {FEW: 15, FINE: 15, LARGE: 5, TINY: 100, MANY: 25, WIDE_8: 5, WIDE_6: 5, BROAD: 5, NARROW: 15}

# On the CPU. Times of others over ours, forward + backward, at least: (asked for, asserted).
LIMITS = {
    FEW: {"dense, same active": (1 / 1.4, 0.45), "Tutel": (1.4, 1.2), "Mixtral block": (3.0, 1.2)},
    FINE: {"dense, same active": (1 / 1.9, 0.35), "Tutel": (1.8, 1.3), "Mixtral block": (3.0, 1.5)},
    LARGE: {"dense, same active": (1 / 1.2, 0.5), "Mixtral block": (3.0, 1.3)},
    TINY: {"Tutel": (1.0, 0.7)},
    MANY: {"dense, same active": (1 / 2.0, 0.35)},
}

# On CUDA, in bf16: asked for, and asserted once it was measured there.
PEERS_THERE = dict.fromkeys(("Mixtral block, grouped", "Mixtral block, Liger", "Tutel"), (1.0, 0.0))
LIMITS_ON_CUDA = {
    WIDE_8: {"dense, same active": (0.7, 0.0), **PEERS_THERE},
    WIDE_6: {"dense, same active": (0.7, 0.0), **PEERS_THERE},
    BROAD: {"dense, same active": (0.75, 0.0), **PEERS_THERE},
    NARROW: PEERS_THERE,
}
# Where launches count, as a graph.
LIMITS_AS_GRAPH = {NARROW: {"dense, same active": (0.45, 0.0)}}
SIZES = {"few": FEW, "fine": FINE, "large": LARGE, "tiny": TINY, "many": MANY}
LARGE_PEERS = ("dense, same active", "Mixtral block, grouped", "Mixtral block, Liger", "Tutel")
"""What is timed at the sizes of a GPU: others keep a number for each token and place."""

BY_WORTH = ("learned", "balanced", "skewed")
"""Kinds of routing: trained ones first."""


def limits(size: Size, way: str, device: torch.device, precision: str) -> dict[str, tuple[float, float]]:
    """Of a backward pass, too, on the device and in the precision that they were stated for."""
    if way == "forward":
        return {}
    if device.type == "cpu":
        return LIMITS.get(size, {}) if precision == "fp32" else {}
    there = LIMITS_AS_GRAPH if way == GRAPH else LIMITS_ON_CUDA
    return there.get(size, {}) if precision == "bf16" else {}


CASES = [
    # What a GPU is to reach, of trained routers first, for a machine that is had for minutes.
    *((name, kind, way) for kind in BY_WORTH for name in ON_CUDA for way in WAYS if way != GRAPH or name == "narrow"),
    *((name, kind, way) for name in SIZES for kind in routing.KINDS for way in PASSES),
]


@lru_cache(maxsize=1)
def inputs_of(size: Size, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A router's weight_DE, and x_BTD that it routes so."""
    generator = torch.Generator().manual_seed(0)
    weight_DE = routing.router_weight(size, generator)
    logits_NE = routing.wanted_logits(kind, size, generator)
    return weight_DE, routing.tokens_for(logits_NE, weight_DE, size, generator)


@pytest.mark.parametrize(("name", "kind", "way"), CASES)
def test_sparse_topk(name: str, kind: str, way: str, benchmark, device, dtype, ledger):
    size = (SIZES | ON_CUDA)[name]
    if name in ON_CUDA and device.type != "cuda":
        pytest.skip("this size is for a GPU")
    if way == GRAPH and (reason := grouped.why_not("cuda", dtype)):
        pytest.skip(f"experts are computed one by one here, which waits: {reason}")
    weight_DE, x_BTD = inputs_of(size, kind)
    x_BTD = x_BTD.to(device, dtype)
    makers, absent = {}, {}
    for peer, (package, make) in peers.SPARSE.items():
        if size in ON_CUDA.values() and peer not in LARGE_PEERS:
            continue
        if peer == "dense, same total" and kind != "learned":
            continue  # slow, and routing is nothing to it
        if reason := peers.why_absent(package, peer, size):
            absent[peer] = reason
        else:
            makers[peer] = partial(make, size, weight_DE)

    def ours():
        torch.manual_seed(0)
        settings = {"experts": size.experts, "top_k": size.per_token}
        layer = SparseTopK().layer(peers.layer_shape(size), size.hidden, settings)
        with torch.no_grad():
            layer.router.weight_DE.copy_(weight_DE)
        return layer

    works, failing = works_of({"sparse_topk": ours, **makers}, way, x_BTD)
    assert "sparse_topk" in works, failing["sparse_topk"]
    mine, rivals = take_turns(benchmark, works.pop("sparse_topk"), works, device, ROUNDS[size])
    asked = limits(size, way, device, ledger.precision)
    least = {peer: limit for peer, (limit, _) in asked.items()}
    ledger.add(Row("sparse_topk", size.words, kind, way, mine, rivals, least, absent | failing))
    if kind == "learned":
        hold(rivals, asked)


OTHERS = {
    "random_router": {"experts": 16},
    "random_detached": {"experts": 16},
    "random_balanced": {"experts": 16},
    "topk_qb": {"experts": 16},
    "sigma_moe": {"experts": 16, "top_k": 2},
    "latent_moe": {"experts": 16},
    "remoe": {"experts": 16},
    "expert_threshold": {"experts": 16, "top_k": 2, "shared": 0},
    "moe_pp": {"experts": 16},
    "lory": {"experts": 16},
    "peer": {"heads": 4, "top_k": 8, "keys": 32, "width": 64},
}
"""Layers without a limit: each beside sparse_topk and dense layers of as many parameters in all."""


@pytest.mark.parametrize("way", PASSES)
@pytest.mark.parametrize("name", OTHERS)
def test_other_layers(name: str, way: str, benchmark, device, dtype, ledger):
    size, dim = FEW._replace(dim=128, hidden=128), 128
    shape = peers.layer_shape(size)
    torch.manual_seed(0)
    ours = load_variant(find_variant(name)).layer(shape, 32 if name == "peer" else size.hidden, OTHERS[name])
    if hasattr(ours, "gate"):
        settle(ours, size)
    total = sum(parameter.numel() for parameter in ours.parameters())
    layers = {
        "sparse_topk, same total": SparseTopK().layer(shape, total // (2 * dim * 16), {"experts": 16, "top_k": 2}),
        "dense, same total": peers.linear(size, total // (2 * dim)),
    }
    absent = {}
    if name == "peer" and find_spec("PEER_pytorch") is None:
        absent["PEER-pytorch"] = "PEER_pytorch is not installed"
    elif name == "peer":
        layers["PEER-pytorch"] = peers.peer_pytorch(dim, 32 * 32)
    x_BTD = 1 + torch.randn(size.inputs, size.tokens, dim, device=device, dtype=dtype)
    works = {each: PASSES[way](layer.to(device), x_BTD) for each, layer in layers.items()}
    mine, rivals = take_turns(benchmark, PASSES[way](ours.to(device), x_BTD), works, device, rounds=9)
    words = f"{size.inputs * size.tokens:,} tokens, D {dim}, {total:,} parameters"
    ledger.add(Row(name, words, "", way, mine, rivals, {}, absent))


def settle(layer: torch.nn.Module, size: Size) -> None:
    """Some steps in which biases, thresholds and numbers of experts become those of a trained layer."""
    optimizer = torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(40):
        x_BTD = 1 + torch.randn(2, size.tokens, 128)
        routing = layer.route(x_BTD, Context())
        loss = layer.compute(x_BTD, routing).square().mean() + sum(routing.losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        layer.after_step()


# Apart, because a rival that takes a second leaves memory idle for so long that a virtual machine gives it away.
SOFT_RIVALS = {
    "quick": {
        "soft-moe-pytorch": lambda: peers.soft_moe_pytorch(SOFT, torch.empty(0)),
        "dense, same FLOPs": lambda: peers.linear(SOFT, SOFT.experts * SOFT.hidden // SOFT.tokens),
    },
    "slow": {"dense, same total": lambda: peers.linear(SOFT, peers.total(SOFT))},
}


@pytest.mark.parametrize("way", PASSES)
@pytest.mark.parametrize("pace", SOFT_RIVALS)
def test_soft_moe(pace: str, way: str, benchmark, device, dtype, ledger):
    torch.manual_seed(0)
    ours = SoftMoE().layer(peers.layer_shape(SOFT), SOFT.hidden, {"experts": SOFT.experts}).to(device)
    layers = {name: make() for name, make in SOFT_RIVALS[pace].items()}
    x_BTD = torch.randn(SOFT.inputs, SOFT.tokens, SOFT.dim, device=device, dtype=dtype)
    works = {name: PASSES[way](layer.to(device), x_BTD) for name, layer in layers.items()}
    mine, rivals = take_turns(benchmark, PASSES[way](ours, x_BTD), works, device, rounds=9 if pace == "slow" else 25)
    least = {"soft-moe-pytorch": (2.0, 2.0) if way == "forward" else (1.4, 1.4)}
    asked = least if device.type == "cpu" and dtype == torch.float32 and pace == "quick" else {}
    words = f"{SOFT.inputs * SOFT.tokens:,} tokens, D {SOFT.dim}, E {SOFT.experts}, P 1, H {SOFT.hidden}"
    ledger.add(Row("soft_moe", words, "", way, mine, rivals, {k: v[0] for k, v in asked.items()}))
    hold(rivals, asked)


@pytest.mark.parametrize("way", PASSES)
def test_mu_moe_cp_beside_its_products(way: str, benchmark, device, dtype, ledger):
    """The layer beside the three products of either of its two multilinear layers, and nothing else."""
    torch.manual_seed(0)
    inputs, tokens, dim, experts, rank = 8, 196, 192, 16, 512
    shape = LayerShape(dim=dim, out_dim=dim, tokens=tokens)
    ours = MuMoECP().layer(shape, rank, {"experts": experts}).to(device)
    x_BTD = torch.randn(inputs, tokens, dim, device=device, dtype=dtype)
    products = Products(ours, onednn.matmul), Products(ours, torch.matmul)
    names = ("its six products, by oneDNN", "its six products, by torch")
    works = {name: PASSES[way](one, x_BTD) for name, one in zip(names, products, strict=True)}
    mine, rivals = take_turns(benchmark, PASSES[way](ours, x_BTD), works, device, rounds=15)
    asked = dict.fromkeys(names, (1 / 1.3, 1 / 1.3)) if device.type == "cpu" and dtype == torch.float32 else {}
    words = f"{inputs * tokens:,} tokens, D {dim}, E {experts}, M {4 * dim}, R {rank}"
    ledger.add(Row("mu_moe_cp", words, "", way, mine, rivals, {k: v[0] for k, v in asked.items()}))
    hold(rivals, asked)


class Products(torch.nn.Module):
    """What a muMoE layer multiplies, without gate, activation, or the product of the two parts."""

    def __init__(self, layer, matmul):
        super().__init__()
        self.first, self.second, self.matmul, self.experts = layer.first, layer.second, matmul, layer.num_experts

    def forward(self, x_BTD):
        a_BTE = x_BTD[..., : self.experts]
        for part in (self.first, self.second):
            a_BTR = self.matmul(a_BTE, part.expert)
            # The one number that joins them keeps all three products in the gradient.
            x_BTD = self.matmul(self.matmul(x_BTD, part.w_in[:-1]), part.w_out) + a_BTR[..., :1]
        return x_BTD


def hold(rivals, asked):
    """Assert the limits of the rivals that took part."""
    for name, (_, asserted) in asked.items():
        if name in rivals:
            assert rivals[name].ratio.median >= asserted, f"{name}: {rivals[name].ratio.median:.2f}"
