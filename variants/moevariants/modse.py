"""MoDSE: sparse top-k over experts of different sizes."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape
from moevariants.parts.experts import Bank, Experts
from moevariants.parts.settings import wrong
from moevariants.sparse_topk import SparseTopK

SHARES = (0.2, 0.4, 0.8, 1.0)
"""Of the mean width H: what the smaller expert of a pair has; the larger has the rest of 2 H (the published sizes)."""


class MoDSE(SparseTopK):
    """Mixture of Diverse Size Experts (Sun et al., arXiv 2409.12210): experts in pairs of widths H_1 + H_2 = 2 H.

    Pairs take the shares of :data:`SHARES` in turn, so that the parameters are those of E equal experts of width H. All
    else as :class:`moevariants.sparse_topk.SparseTopK`, in ranked suites with noise. Experts are numbered from the
    largest to the smallest. Settings are those; ``experts`` must be even. Size is H, the mean width. Active parameters
    and FLOPs are those of an even load.
    """

    name = "modse"
    revision = "47e10662bdb2ada23ee1"
    paper = "https://arxiv.org/abs/2409.12210"
    single_expert = ""
    tune = {**SparseTopK.tune, "noise_std": (1.0,)}

    def _bank(self, shape: LayerShape, experts: int, size: int) -> Bank:
        if experts % 2:
            raise wrong(self, "experts", experts, "an even number, because experts come in pairs")
        return SizedExperts(shape, sizes(experts, size))


def sizes(num_experts: int, mean: int) -> list[int]:
    """Widths of E experts, largest first: of each pair the smaller has its share of ``mean``, rounded, at least 1."""
    small = [max(1, round(SHARES[pair % len(SHARES)] * mean)) for pair in range(num_experts // 2)]
    return sorted([*small, *(2 * mean - width for width in small)], reverse=True)


class SizedExperts(Bank):
    """A bank for each width, experts in the order of ``widths``, which is sorted."""

    def __init__(self, shape: LayerShape, widths: list[int]) -> None:
        super().__init__()
        self.count = len(widths)
        alike = [(width, len(list(group))) for width, group in groupby(widths)]
        self.banks = nn.ModuleList(Experts(many, shape, width) for width, many in alike)

    def forward_rows(self, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
        """rows_NO of rows sorted by expert. Where the rows of a bank end must be known: a GPU is waited for."""
        banks, many = self._banks(), [bank.count for bank in self._banks()]
        of_bank = torch.split(counts_E, many)
        rows = torch.split(rows_ND, torch.stack([counts_e.sum() for counts_e in of_bank]).tolist())
        turns = zip(banks, rows, of_bank, strict=True)
        return torch.cat([bank.forward_rows(rows_nD, counts_e, most) for bank, rows_nD, counts_e in turns])

    def experts_held(self, name: str) -> range:
        """The experts of a parameter: those of its bank."""
        of, banks = int(name.split("banks.")[1].split(".")[0]), self._banks()
        first = sum(bank.count for bank in banks[:of])
        return range(first, first + banks[of].count)

    def _banks(self) -> list[Experts]:
        return [bank for bank in self.banks if isinstance(bank, Experts)]
