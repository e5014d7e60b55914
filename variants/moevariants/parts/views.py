"""What layers for several targets are composed of: a gate for each view, and experts whose outputs all views share.

G groups of experts with one input each   n experts that a gate chooses among
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebench.contract import Context, LayerShape
from moevariants.parts.experts import Experts
from moevariants.parts.huge_pages import batched


def drawn(*sizes: int) -> nn.Parameter:
    """A stack of linear maps (..., in, out), drawn as ``nn.Linear`` draws."""
    bound = sizes[-2] ** -0.5
    return nn.Parameter(nn.init.uniform_(torch.empty(*sizes), -bound, bound))


def view_names(shape: LayerShape) -> tuple[str, ...]:
    """The views; one without a name in a slot without views."""
    return shape.views or ("",)


def as_slot(y_BVTO: Tensor, shape: LayerShape) -> Tensor:
    """y_BVTO, or y_BTO in a slot without views."""
    return y_BVTO if shape.views else y_BVTO.squeeze(1)


def gate_logits(x_BVTD: Tensor, gate_VDn: Tensor) -> Tensor:
    """logits_BVTn: each view's own linear map of its own input, in float32 or wider, under autocast too."""
    wide = torch.promote_types(torch.promote_types(x_BVTD.dtype, gate_VDn.dtype), torch.float32)
    with torch.autocast(x_BVTD.device.type, enabled=False):
        return torch.einsum("bvtd,vdn->bvtn", x_BVTD.to(wide), gate_VDn.to(wide))


def real(weight_BVTE: Tensor, context: Context) -> Tensor:
    """The weights, 0 at padding."""
    mask_BT = context.token_mask_BT
    return weight_BVTE if mask_BT is None else weight_BVTE * mask_BT[:, None, :, None]


def for_views(x_BTD: Tensor, count: int) -> Tensor:
    """The same input for each of so many views, (B, count, T, D), without a copy."""
    return x_BTD.unsqueeze(1).expand(-1, count, -1, -1)


def outputs(experts: Experts, x_BGTD: Tensor, keep_BE: Tensor | None = None) -> Tensor:
    """out_BETO: each expert once on the input of its group, E / G neighbours a group; 0 for experts that are not kept,
    which are not computed.
    """
    num_inputs, groups, num_tokens, _ = x_BGTD.shape
    x_EBTD = x_BGTD.transpose(0, 1).repeat_interleave(experts.count // groups, 0)
    if keep_BE is None:
        out_ENO = experts.forward_slots(x_EBTD.flatten(1, 2))
        return out_ENO.view(experts.count, num_inputs, num_tokens, -1).transpose(0, 1)
    keep_EB = keep_BE.t()
    rows_NO = experts.forward_rows(x_EBTD[keep_EB].flatten(0, 1), keep_EB.sum(1) * num_tokens)
    out_EBTO = rows_NO.new_zeros(experts.count, num_inputs, num_tokens, rows_NO.shape[1])
    out_EBTO[keep_EB] = rows_NO.view(-1, num_tokens, rows_NO.shape[1])
    return out_EBTO.transpose(0, 1)


def hidden_units(experts: Experts, x_BGTD: Tensor) -> Tensor:
    """units_ENH: what each expert has after the activation, for the input of its group."""
    slots_END = x_BGTD.transpose(0, 1).repeat_interleave(experts.count // x_BGTD.shape[1], 0).flatten(1, 2)
    return experts.activate(batched(slots_END, experts.w_in_EDH, experts.b_in_EH))


def mixed(weight_BVTE: Tensor, out_BETO: Tensor) -> Tensor:
    """y_BVTO: each view's weighted sum of what the experts gave."""
    return torch.einsum("bvte,beto->bvto", weight_BVTE.to(out_BETO.dtype), out_BETO)


def spread(weight_BVTn: Tensor, index_Vn: Tensor, experts: int) -> Tensor:
    """weight_BVTE of weights over the experts that ``index_Vn`` names for each view; 0 for all others."""
    index_BVTn = index_Vn[:, None].expand_as(weight_BVTn)
    return weight_BVTn.new_zeros(*weight_BVTn.shape[:3], experts).scatter_add(3, index_BVTn, weight_BVTn)
