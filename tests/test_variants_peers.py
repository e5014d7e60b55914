"""Layers against independent implementations of them, brought to the same definition and given the same weights."""

import pytest
import torch
from torch import nn

from moebench.contract import LayerShape
from moevariants.latent_moe import LatentMoE
from moevariants.soft_moe import SoftMoE
from moevariants.sparse_topk import SparseTopK

INPUTS, TOKENS, DIM, EXPERTS, HIDDEN = 3, 11, 10, 5, 7


def gradients_of(layer, x_BTD, probe_BTD, wanted):
    """Outputs, and the gradient of their weighed sum to the inputs and to each parameter."""
    x_BTD = x_BTD.clone().requires_grad_()
    y_BTD = layer(x_BTD)
    return [y_BTD.detach(), *torch.autograd.grad((y_BTD * probe_BTD).sum(), [x_BTD, *wanted])]


def tokens(dtype):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, INPUTS, TOKENS, DIM, generator=generator, dtype=dtype).unbind()


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("normalise", [False, True])
def test_soft_moe_is_that_of_soft_moe_pytorch(normalise, slots):
    from soft_moe_pytorch import SoftMoE as Theirs

    torch.manual_seed(0)
    theirs = Theirs(DIM, num_experts=EXPERTS, num_slots=slots, expert_mult=HIDDEN / DIM).double()
    settings = {"experts": EXPERTS, "slots": slots, "normalise": normalise, "slots_from_normalised_tokens": normalise}
    ours = SoftMoE().layer(LayerShape(dim=DIM, out_dim=DIM, tokens=TOKENS), HIDDEN, settings).double()
    with torch.no_grad():
        ours.router.phi_DS.copy_(theirs.slot_embeds.flatten(0, 1).t())
        for e, expert in enumerate(theirs.experts.experts):
            ours.experts.w_in_EDH[e], ours.experts.b_in_EH[e] = expert[0].weight.t(), expert[0].bias
            ours.experts.w_out_EHO[e], ours.experts.b_out_EO[e] = expert[3].weight.t(), expert[3].bias
        if normalise:  # its norm is l2norm(x) sqrt(D) gamma, of tokens and of slots
            theirs.norm.gamma.fill_(DIM**-0.5)
            theirs.slot_norm.gamma.fill_(DIM**-0.5 * 1.7)
            ours.router.scale.fill_(1.7)
        else:
            theirs.norm, theirs.slot_norm = nn.Identity(), nn.Identity()
    x_BTD, probe_BTD = tokens(torch.float64)
    experts = theirs.experts.experts
    their_y, their_x, their_phi, *their_experts = gradients_of(
        theirs, x_BTD, probe_BTD, [theirs.slot_embeds, *(p for e in experts for p in e.parameters())]
    )
    our_y, our_x, our_phi, *our_experts = gradients_of(
        ours, x_BTD, probe_BTD, [ours.router.phi_DS, *ours.experts.stacks]
    )
    # The epsilons of the two norms differ.
    close = {"rtol": 1e-6, "atol": 1e-6} if normalise else {"rtol": 1e-11, "atol": 1e-12}
    torch.testing.assert_close(our_y, their_y, **close)
    torch.testing.assert_close(our_x, their_x, **close)
    torch.testing.assert_close(our_phi, their_phi.flatten(0, 1).t(), **close)
    for index, stack in enumerate((our_experts[0].mT, our_experts[1], our_experts[2].mT, our_experts[3])):
        torch.testing.assert_close(stack, torch.stack(their_experts[index::4]), **close)


@pytest.mark.parametrize("kind", ["eager", "grouped_mm"])
@pytest.mark.parametrize("backend", ["loop", "grouped", "padded", "onednn"])
def test_sparse_topk_is_the_block_of_mixtral(kind, backend):
    """Weight by weight and gradient by gradient: ``swiglu``, whose gate and up units take turns here."""
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    dim, hidden = 12, 8  # multiples of 4, which its grouped product asks for
    config = MixtralConfig(hidden_size=dim, intermediate_size=hidden, num_local_experts=EXPERTS, num_experts_per_tok=2)
    config._experts_implementation = kind
    theirs = MixtralSparseMoeBlock(config)
    shape = LayerShape(dim=dim, out_dim=dim, tokens=TOKENS, activation="swiglu", bias=False)
    torch.manual_seed(0)
    ours = SparseTopK().layer(shape, hidden, {"experts": EXPERTS, "top_k": 2})
    ours.experts.set_backend(backend)
    w_in_EDH, w_out_EHD = ours.experts.w_in_EDH, ours.experts.w_out_EHO
    gate_EDH, up_EDH = w_in_EDH.detach().unflatten(2, (-1, 2)).unbind(-1)
    with torch.no_grad():
        theirs.gate.weight.copy_(ours.router.weight_DE.t())
        theirs.experts.gate_up_proj.copy_(torch.cat([gate_EDH, up_EDH], dim=2).mT)
        theirs.experts.down_proj.copy_(w_out_EHD.mT)
    x_BTD, probe_BTD = torch.randn(2, INPUTS, TOKENS, dim).unbind()
    y, of_x, of_router, of_in, of_out = gradients_of(
        theirs, x_BTD, probe_BTD, [theirs.gate.weight, theirs.experts.gate_up_proj, theirs.experts.down_proj]
    )
    mine = gradients_of(ours, x_BTD, probe_BTD, [ours.router.weight_DE, w_in_EDH, w_out_EHD])
    of_in = torch.stack(of_in.mT.chunk(2, dim=2), -1).flatten(2)
    for one, other in zip(mine, (y, of_x, of_router.t(), of_in, of_out.mT), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["loop", "grouped"])
def test_latent_moe_is_that_of_latent_moe(kind):
    from latent_moe import LatentMoE as Theirs
    from latent_moe import LatentMoEConfig

    config = LatentMoEConfig(
        d=DIM, m=HIDDEN, n_experts=3, top_k=2, alpha=2, n_shared=0, variant="acc", impl=kind, device="cpu"
    )
    torch.manual_seed(0)
    theirs = Theirs(config).double()
    shape = LayerShape(dim=DIM, out_dim=DIM, tokens=TOKENS, activation="swiglu", bias=False)
    ours = LatentMoE().layer(shape, HIDDEN, {"experts": 6, "top_k": 4, "narrow": 2}).double()
    w_in_EDH, w_out_EHD = ours.experts.w_in_EDH, ours.experts.w_out_EHO
    # Gate and up units take turns here.
    parts = [(expert.fc1.weight, expert.gate.weight, expert.fc2.weight) for expert in theirs.experts]
    with torch.no_grad():
        ours.router.weight_DE.copy_(theirs.router.weight.t())
        ours.down.weight.copy_(theirs.w_down.weight)
        ours.up.weight.copy_(theirs.w_up.weight)
        w_in_EDH.copy_(torch.stack([torch.stack([gate.t(), up.t()], -1).flatten(1) for gate, up, _ in parts]))
        w_out_EHD.copy_(torch.stack([out.t() for *_, out in parts]))
    x_BTD, probe_BTD = tokens(torch.float64)
    of = [theirs.router.weight, theirs.w_down.weight, theirs.w_up.weight, *(w for each in parts for w in each)]
    y, of_x, of_router, of_down, of_up, *rest = gradients_of(theirs, x_BTD, probe_BTD, of)
    of_in = torch.stack(
        [torch.stack([gate.t(), up.t()], -1).flatten(1) for gate, up in zip(rest[::3], rest[1::3], strict=False)]
    )
    of_out = torch.stack([out.t() for out in rest[2::3]])
    wanted = [ours.router.weight_DE, ours.down.weight, ours.up.weight, w_in_EDH, w_out_EHD]
    mine = gradients_of(ours, x_BTD, probe_BTD, wanted)
    for one, other in zip(mine, (y, of_x, of_router.t(), of_down, of_up, of_in, of_out), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
