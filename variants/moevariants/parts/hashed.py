"""Layers whose tokens go where a fixed table sends them: by their place, their id or their group."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from moebench.contract import Context, Routing, Variant
from moevariants.parts.experts import Bank
from moevariants.parts.gates import SoftmaxGate
from moevariants.parts.settings import whole
from moevariants.parts.sparse import Places, SparseLayer

Ids = Callable[[Tensor, Context], Tensor]
"""(x_BTD, context) -> ids_BT by which tokens are sent."""


class TableRouter(nn.Module):
    """logits_BTE: 0 for the experts of an id and -inf for all others, which a softmax makes 1/K and 0.

    The table is drawn when the router is built. It deals the E experts out evenly over P shuffled ids; the K experts of
    an id differ. Larger ids begin again.
    """

    expert_PK: Tensor

    def __init__(self, ids: int, num_experts: int, top_k: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        dealt_P = torch.randperm(ids) % num_experts
        # A token's other experts follow its first at fixed random distances, so that every load stays as even.
        apart_K = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(num_experts - 1)[: top_k - 1]])
        self.register_buffer("expert_PK", (dealt_P.unsqueeze(1) + apart_K) % num_experts)

    def balance(self, counts_P: Tensor) -> None:
        """Deal the experts out anew, evenly for ids of these frequencies: greedily, the most frequent id first.

        Each takes K at random of the K + 1 least loaded, so that layers have tables of their own. The table that was
        drawn decides the draws; torch's generator is left as it is.
        """
        num_ids, top_k = self.expert_PK.shape
        drawn = self.expert_PK.flatten().cpu()
        seed = int((drawn * torch.arange(1, len(drawn) + 1)).sum()) % 2**31
        generator, load_E = torch.Generator().manual_seed(seed), torch.zeros(self.num_experts, dtype=torch.double)
        load_E += 1e-3 * torch.rand(load_E.shape, generator=generator, dtype=torch.double)  # equal ones have an order
        expected_P = counts_P[:num_ids].double().cpu() + 1  # an id that was not seen may come
        few, table_PK = min(top_k + 1, self.num_experts), torch.empty_like(self.expert_PK, device="cpu")
        for index in expected_P.argsort(descending=True, stable=True).tolist():
            least_J = load_E.topk(few, largest=False).indices
            taken_K = least_J[torch.randperm(few, generator=generator)[:top_k]]
            table_PK[index] = taken_K
            load_E[taken_K] += expected_P[index] / top_k
        self.expert_PK.copy_(table_PK)

    def forward(self, ids_BT: Tensor, dtype: torch.dtype) -> Tensor:
        """In ``dtype`` or float32, whichever is wider."""
        wide = torch.promote_types(dtype, torch.float32)
        none_BTE = torch.full((*ids_BT.shape, self.num_experts), -torch.inf, dtype=wide, device=ids_BT.device)
        return none_BTE.scatter(2, self.expert_PK[ids_BT % len(self.expert_PK)], 0.0)


class HashedLayer(SparseLayer):
    """y_BTO = mean over K of f_{h_k(id)}(x). Its choices cannot be made anew among fewer experts."""

    rules = ("renormalise",)

    def __init__(self, router: TableRouter, top_k: int, experts: Bank, ids: Ids) -> None:
        super().__init__(router, SoftmaxGate(top_k, renormalise=False), experts, Places())
        self.ids = ids

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """As the table says."""
        gated = self.gate(self.router(self.ids(x_BTD, context), x_BTD.dtype), context.token_mask_BT)
        return self._routing(gated, self._kept(gated, context), context)

    def router_logits(self, x_BTD: Tensor) -> None:
        """A table has none."""
        return


class HashedByToken(HashedLayer):
    """By token ids, whose frequencies it is told before it is trained."""

    def expect_tokens(self, counts_V: Tensor) -> None:
        """Deal the experts out evenly for tokens of these frequencies."""
        router = self.router
        assert isinstance(router, TableRouter)
        router.balance(counts_V)


def by_place(x_BTD: Tensor, context: Context) -> Tensor:
    """The place of each token, the same for every input."""
    return torch.arange(x_BTD.shape[1], device=x_BTD.device).expand(len(x_BTD), -1)


def by_token(x_BTD: Tensor, context: Context) -> Tensor:
    """The id of each token; its place where only costs are counted."""
    return by_place(x_BTD, context) if context.token_ids_BT is None else context.token_ids_BT


def by_group(x_BTD: Tensor, context: Context) -> Tensor:
    """The group that the task gave each token; its place where only costs are counted."""
    return by_place(x_BTD, context) if context.group_ids_BT is None else context.group_ids_BT


def experts_and_k(variant: Variant, experts: int, top_k: int | None) -> tuple[int, int]:
    """E and K, by default 2, or 1 with one expert; ValueError where they are wrong."""
    whole(variant, "experts", experts)
    chosen = min(2, experts) if top_k is None else top_k
    return experts, whole(variant, "top_k", chosen, experts, " (the number of experts)")
