"""What a layer decided for a batch, and all that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Routing:
    """What a layer decided, before any expert has worked.

    Made by :meth:`sparse` where tokens choose experts, by :meth:`by_expert` where experts choose tokens, by
    :meth:`soft` where every expert acts on every token, by :meth:`by_view` where so for each view with weights of its
    own, and by ``Routing()`` in a layer without experts. Masses, combine weights and loads follow from these.

    losses: auxiliary losses by name (balance, importance, load, z, ...), raw scalars: the settings ``loss/<name>`` are
    their weights, which the training loop applies. state: what ``compute`` needs beside; opaque to everyone else.
    """

    losses: Mapping[str, Tensor] = field(default_factory=dict)
    state: Any = None
    num_experts: int = 0
    chosen_BTK: Tensor | None = None
    weight_BTK: Tensor | None = None
    kept_BTK: Tensor | None = None
    wanted_BTK: Tensor | None = None
    taken_BEc: Tensor | None = None
    weight_BEc: Tensor | None = None
    num_tokens: int = 0
    combine_BTS: Tensor | None = None
    combine_BVTE: Tensor | None = None

    @classmethod
    def sparse(
        cls,
        chosen_BTK: Tensor,
        weight_BTK: Tensor,
        *,
        experts: int,
        kept_BTK: Tensor | None = None,
        wanted_BTK: Tensor | None = None,
        losses: Mapping[str, Tensor] | None = None,
        state: Any = None,
    ) -> Routing:
        """Each token chose K of E ``experts``, and adds up their outputs with these weights.

        kept_BTK: which choices count, where padding has none or an expert no room; None: all. wanted_BTK: where tokens
        choose different numbers of experts, False for those of the K that a token does not choose; they do not count
        either, and are no drops; None: all. An expert may be chosen twice by a token: its weights add up.
        """
        if wanted_BTK is not None:
            kept_BTK = wanted_BTK if kept_BTK is None else kept_BTK & wanted_BTK
        return cls(
            losses or {},
            state,
            experts,
            chosen_BTK=chosen_BTK,
            weight_BTK=weight_BTK,
            kept_BTK=kept_BTK,
            wanted_BTK=wanted_BTK,
        )

    @classmethod
    def by_expert(
        cls,
        taken_BEc: Tensor,
        weight_BEc: Tensor,
        *,
        tokens: int,
        losses: Mapping[str, Tensor] | None = None,
        state: Any = None,
    ) -> Routing:
        """Each expert took c different ones of an input's T ``tokens``, and its output reaches them with these weights;
        0 where it took fewer.
        """
        experts = taken_BEc.shape[1]
        return cls(losses or {}, state, experts, taken_BEc=taken_BEc, weight_BEc=weight_BEc, num_tokens=tokens)

    @classmethod
    def soft(
        cls,
        combine_BTE: Tensor,
        *,
        experts: int | None = None,
        losses: Mapping[str, Tensor] | None = None,
        state: Any = None,
    ) -> Routing:
        """Every token gets the output of every expert with these weights.

        experts: where an expert has P outputs for an input, the last axis has S = E P of them, slot s that of expert
        s // P. ValueError where S is no such multiple.
        """
        if experts and combine_BTE.shape[2] % experts:
            raise ValueError(
                f"combine weights of shape {tuple(combine_BTE.shape)} for {experts} experts; the last axis must be a "
                f"multiple of {experts}"
            )
        return cls(losses or {}, state, experts or combine_BTE.shape[2], combine_BTS=combine_BTE)

    @classmethod
    def by_view(cls, combine_BVTE: Tensor, *, losses: Mapping[str, Tensor] | None = None, state: Any = None) -> Routing:
        """Every view gets the output of every expert with weights of its own. Masses and combine weights are means over
        the views; where experts stand in levels, a weight is that of all ways from the expert to the view.
        """
        experts, combine_BTE = combine_BVTE.shape[3], combine_BVTE.mean(1)
        return cls(losses or {}, state, experts, combine_BTS=combine_BTE, combine_BVTE=combine_BVTE)

    @property
    def combine_BTE(self) -> Tensor | None:
        """The weight with which the output of expert e reaches token t, with its gradient; None without experts.

        Over several slots their sum (C of arXiv 2308.00951, equation 2).
        """
        if self.chosen_BTK is not None and self.weight_BTK is not None:
            none_BTE = self.weight_BTK.new_zeros(*self.weight_BTK.shape[:2], self.num_experts)
            weight_BTK = self.weight_BTK if self.kept_BTK is None else self.weight_BTK * self.kept_BTK
            return none_BTE.scatter_add(2, self.chosen_BTK, weight_BTK)
        if self.taken_BEc is not None and self.weight_BEc is not None:
            none_BET = self.weight_BEc.new_zeros(*self.weight_BEc.shape[:2], self.num_tokens)
            return none_BET.scatter(2, self.taken_BEc, self.weight_BEc).mT
        if self.combine_BTS is None or self.combine_BTS.shape[2] == self.num_experts:
            return self.combine_BTS
        return self.combine_BTS.view(*self.combine_BTS.shape[:2], self.num_experts, -1).sum(3)

    @cached_property
    def mass_BE(self) -> Tensor | None:
        """Combine weight of expert e, summed over the input's tokens; without a gradient. None without experts."""
        with torch.no_grad():
            if self.weight_BEc is not None:
                return self.weight_BEc.sum(2)
            if self.combine_BTS is not None:
                mass_BS = self.combine_BTS.sum(1)
                one_slot = mass_BS.shape[1] == self.num_experts
                return mass_BS if one_slot else mass_BS.view(len(mass_BS), self.num_experts, -1).sum(2)
            combine_BTE = self.combine_BTE
            return None if combine_BTE is None else combine_BTE.sum(1)

    @property
    def _counts_BTK(self) -> Tensor | None:
        """Whether each choice counts; None unless tokens choose."""
        if self.kept_BTK is None and self.chosen_BTK is not None:
            return torch.ones_like(self.chosen_BTK, dtype=torch.bool)
        return self.kept_BTK

    @cached_property
    def load_BE(self) -> Tensor | None:
        """How many choices of expert e count, over the input's tokens; None unless tokens choose."""
        if self.chosen_BTK is None or (counts_BTK := self._counts_BTK) is None:
            return None
        none_BE = self.chosen_BTK.new_zeros(len(self.chosen_BTK), self.num_experts)
        return none_BE.scatter_add(1, self.chosen_BTK.flatten(1), counts_BTK.flatten(1).to(none_BE))

    @property
    def count_BTE(self) -> Tensor | None:
        """How many choices that count join token t and expert e: 1 or 0 where no token chooses an expert twice, and
        where experts choose. None where every expert acts on every token, and without experts.
        """
        if self.chosen_BTK is not None and (counts_BTK := self._counts_BTK) is not None:
            none_BTE = self.chosen_BTK.new_zeros(*self.chosen_BTK.shape[:2], self.num_experts)
            return none_BTE.scatter_add(2, self.chosen_BTK, counts_BTK.to(none_BTE))
        if self.taken_BEc is not None and self.weight_BEc is not None:
            none_BET = self.taken_BEc.new_zeros(*self.taken_BEc.shape[:2], self.num_tokens)
            return none_BET.scatter(2, self.taken_BEc, (self.weight_BEc > 0).to(none_BET)).mT
        return None

    @property
    def drop_rate_B(self) -> Tensor | None:
        """Share of an input's choices that do not count, in float64; None unless tokens choose."""
        counts_BTK = self._counts_BTK
        if counts_BTK is None or self.wanted_BTK is None:
            return None if counts_BTK is None else (~counts_BTK).double().mean((1, 2))
        dropped_BTK = self.wanted_BTK & ~counts_BTK
        return dropped_BTK.double().sum((1, 2)) / self.wanted_BTK.double().sum((1, 2)).clamp(min=1)

    @property
    def coverage_B(self) -> Tensor | None:
        """Share of an input's tokens that have a choice that counts, in float64; None unless tokens choose."""
        counts_BTK = self._counts_BTK
        return None if counts_BTK is None else counts_BTK.any(2).double().mean(1)
