"""Which hidden unit of one expert is which of another (Li et al., arXiv 2310.01334, section 3.1)."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moevariants.parts.experts import Experts


@torch.no_grad()
def aligned(experts: Experts, reference_E: Tensor) -> list[Tensor | None]:
    """w_in, b_in, w_out and b_out with the hidden units of each expert in the order that is nearest its reference's.

    reference_E: the expert that each is compared with. An expert computes the same whatever the order of its units;
    the order taken is the permutation P of largest <W_in_ref, W_in P> + <b_in_ref, b_in P> + <W_out_ref, P^T W_out>, an
    assignment problem that is solved exactly, in float64.
    """
    w_in_EDH, b_in_EH, w_out_EHO, b_out_EO = experts.stacks
    biases = [] if b_in_EH is None else [b_in_EH.unsqueeze(2)]
    # What goes into a unit and what comes out of it, one row a unit.
    units_EHU = torch.cat([w_in_EDH.mT, *biases, w_out_EHO], 2).double()
    order_EH = torch.stack([_order(units_EHU[int(r)], units_EHU[e]) for e, r in enumerate(reference_E)])
    return [
        w_in_EDH.gather(2, order_EH.unsqueeze(1).expand_as(w_in_EDH)),
        None if b_in_EH is None else b_in_EH.gather(1, order_EH),
        w_out_EHO.gather(1, order_EH.unsqueeze(2).expand_as(w_out_EHO)),
        b_out_EO,
    ]


def _order(reference_HU: Tensor, units_HU: Tensor) -> Tensor:
    """order_H: the unit that takes each place of the reference's."""
    _, order_H = linear_sum_assignment((reference_HU @ units_HU.mT).cpu().numpy(), maximize=True)
    return torch.from_numpy(order_H).to(units_HU.device)
