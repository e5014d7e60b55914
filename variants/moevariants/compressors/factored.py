"""Experts whose weights are low rank plus a few whole columns (Li et al., arXiv 2310.01334, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from moevariants.parts.experts import Bank, Experts, by_expert

ROUNDS = 20
"""Of fitting the two terms in turns; the error cannot grow from one to the next."""


class Terms(NamedTuple):
    """W_GIJ ~ u_GIR v_GRJ, plus s_GIS in the columns unit_GS and nothing elsewhere."""

    u_GIR: Tensor
    v_GRJ: Tensor
    s_GIS: Tensor
    unit_GS: Tensor


@torch.no_grad()
def low_rank_plus_columns(w_GIJ: Tensor, rank: int, columns: int) -> Terms:
    """The terms of a small squared error, each the best for the other: the largest singular values of what the columns
    leave, and the columns in which the low rank leaves most; the columns come first.
    """
    wide_GIJ = w_GIJ.double()
    low_GIJ = torch.zeros_like(wide_GIJ)
    for _ in range(ROUNDS):
        s_GIS, unit_GS = _largest_columns(wide_GIJ - low_GIJ, columns)
        sparse_GIJ = torch.zeros_like(wide_GIJ).scatter(2, _at(unit_GS, wide_GIJ), s_GIS)
        u_GIM, root_GM, v_GMJ = torch.linalg.svd(wide_GIJ - sparse_GIJ, full_matrices=False)
        root_GR = root_GM[:, :rank].sqrt()
        u_GIR, v_GRJ = u_GIM[..., :rank] * root_GR.unsqueeze(1), v_GMJ[:, :rank] * root_GR.unsqueeze(2)
        low_GIJ = u_GIR @ v_GRJ
    s_GIS, unit_GS = _largest_columns(wide_GIJ - low_GIJ, columns)
    return Terms(u_GIR.to(w_GIJ), v_GRJ.to(w_GIJ), s_GIS.to(w_GIJ), unit_GS)


def _largest_columns(left_GIJ: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """(s_GIS, unit_GS): the columns of largest norm, in their order, and which they are."""
    unit_GS = left_GIJ.square().sum(1).argsort(dim=1, descending=True, stable=True)[:, :columns].sort(1).values
    return left_GIJ.gather(2, _at(unit_GS, left_GIJ)), unit_GS


def _at(unit_GS: Tensor, of_GIJ: Tensor) -> Tensor:
    return unit_GS.unsqueeze(1).expand(-1, of_GIJ.shape[1], -1)


class FactoredExperts(Bank):
    """G experts ``act(x W_in + b_in) W_out + b_out`` with W_in = U V + S over few hidden units, and W_out likewise.

    The structure of S is whole hidden units: of W_in some columns, of W_out some rows, each expert its own.
    """

    unit_in_GS: Tensor
    unit_out_GS: Tensor
    b_in_GH: nn.Parameter | None
    b_out_GO: nn.Parameter | None

    def __init__(self, experts: Experts, rank: int, units: int) -> None:
        super().__init__()
        w_in_GDH, b_in_GH, w_out_GHO, b_out_GO = experts.stacks
        self.count, self.shape = experts.count, experts.shape
        into, out = low_rank_plus_columns(w_in_GDH, rank, units), low_rank_plus_columns(w_out_GHO.mT, rank, units)
        self.u_in_GDR, self.v_in_GRH = nn.Parameter(into.u_GIR), nn.Parameter(into.v_GRJ)
        self.s_in_GDS = nn.Parameter(into.s_GIS)
        self.u_out_GHR = nn.Parameter(out.v_GRJ.mT.contiguous())
        self.v_out_GRO = nn.Parameter(out.u_GIR.mT.contiguous())
        self.s_out_GSO = nn.Parameter(out.s_GIS.mT.contiguous())
        self.b_in_GH = None if b_in_GH is None else nn.Parameter(b_in_GH.detach().clone())
        self.b_out_GO = None if b_out_GO is None else nn.Parameter(b_out_GO.detach().clone())
        self.register_buffer("unit_in_GS", into.unit_GS)
        self.register_buffer("unit_out_GS", out.unit_GS)

    def forward_rows(self, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
        """rows_NO of rows sorted by expert, one expert after the other."""
        return torch.cat([self._one(g, rows_nD) for g, rows_nD in by_expert(rows_ND, counts_E)])

    def _one(self, g: int, rows_nD: Tensor) -> Tensor:
        units_nH = (rows_nD @ self.u_in_GDR[g]) @ self.v_in_GRH[g]
        units_nH = units_nH.index_add(1, self.unit_in_GS[g], (rows_nD @ self.s_in_GDS[g]).to(units_nH.dtype))
        if self.b_in_GH is not None:
            units_nH = units_nH + self.b_in_GH[g]
        active_nH = self.shape.activate(units_nH)
        rows_nO = (active_nH @ self.u_out_GHR[g]) @ self.v_out_GRO[g]
        rows_nO = rows_nO + active_nH[:, self.unit_out_GS[g]] @ self.s_out_GSO[g]
        return rows_nO if self.b_out_GO is None else rows_nO + self.b_out_GO[g]
