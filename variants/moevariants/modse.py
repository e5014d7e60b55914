"""MoDSE: sparse top-k over experts of different sizes."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        """rows_NO of rows sorted by expert: on a CPU bank by bank, elsewhere in one, for a GPU would be asked where the
        rows of a bank end, and waited for.
        """
        banks = self._banks()
        if rows_ND.device.type != "cpu":
            return Widened(banks).forward_rows(rows_ND, counts_E, most)
        of_bank = torch.split(counts_E, [bank.count for bank in banks])
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


class Widened(Experts):
    """The experts of some banks as those of one, for one call: what they lack to the widest is hidden units of zeros,
    which every activation of a host keeps. They cost products, by 1.8 times the mean width instead of it.
    """

    def __init__(self, banks: list[Experts]) -> None:
        nn.Module.__init__(self)
        first, hidden = banks[0], max(bank.w_out_EHO.shape[1] for bank in banks)
        self.count, self.linear = sum(bank.count for bank in banks), first.linear
        self.shape, self.backend = first.shape, first.backend
        units = max(bank.w_in_EDH.shape[2] for bank in banks)
        w_in = [F.pad(bank.w_in_EDH, (0, units - bank.w_in_EDH.shape[2])) for bank in banks]
        w_out = [F.pad(bank.w_out_EHO, (0, 0, 0, hidden - bank.w_out_EHO.shape[1])) for bank in banks]
        b_in = [F.pad(b, (0, units - b.shape[1])) for bank in banks if (b := bank.b_in_EH) is not None]
        b_out: list[Tensor] = [b for bank in banks if (b := bank.b_out_EO) is not None]
        # No parameters, but made of them: gradients reach the banks.
        self.w_in_EDH, self.w_out_EHO = torch.cat(w_in), torch.cat(w_out)  # type: ignore[assignment]
        self.b_in_EH = torch.cat(b_in) if b_in else None  # type: ignore[assignment]
        self.b_out_EO = torch.cat(b_out) if b_out else None  # type: ignore[assignment]
