"""One expert on its own rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moevariants.parts import thin

BIG = 1 << 20
"""Elements of one weight from which an expert is computed as a big one; below, the weight fits a core's cache."""


def mlp(
    rows_nD: Tensor,
    w_in_DH: Tensor,
    b_in_H: Tensor | None,
    w_out_HO: Tensor,
    b_out_O: Tensor | None,
    activate: Callable[[Tensor], Tensor],
) -> Tensor:
    """rows_nO: ``activate(rows W_in + b_in) W_out + b_out``.

    A big expert is read from memory once whatever is asked of it, so that the way of reading decides. 768 -> 30720 ->
    768, both weights, two threads: 1 row 8.5 ms in two blocks, 13 as plain products, 15 by ``thin``; 12 rows 28 ms by
    ``thin``, 65 plain; 25 rows 39 against 90; 100 rows 117 against 162.
    """
    if is_big(rows_nD, w_in_DH):
        if len(rows_nD) == 1 and w_in_DH.shape[1] % 2 == 0:
            return _in_two_blocks(rows_nD, w_in_DH, b_in_H, w_out_HO, b_out_O, activate)
        if thin.serves(rows_nD, w_in_DH, w_out_HO):
            return thin.product(activate(thin.product(rows_nD, w_in_DH, b_in_H)), w_out_HO, b_out_O)
    return _affine(activate(_affine(rows_nD, w_in_DH, b_in_H)), w_out_HO, b_out_O)


def is_big(rows: Tensor, w_in: Tensor) -> bool:
    """Whether an expert is computed as a big one: on a CPU, without a gradient; ``w_in`` ends in (D, H)."""
    dim, hidden = w_in.shape[-2:]
    return dim * hidden >= BIG and rows.device.type == "cpu" and not torch.is_grad_enabled()


def _in_two_blocks(
    row_1D: Tensor,
    w_in_DH: Tensor,
    b_in_H: Tensor | None,
    w_out_HO: Tensor,
    b_out_O: Tensor | None,
    activate: Callable[[Tensor], Tensor],
) -> Tensor:
    """The hidden units of a single row as a batch of 2 blocks of h, read in place: threads share a batch, not a row."""
    w_in_2Dh = w_in_DH.view(len(w_in_DH), 2, -1).transpose(0, 1)
    hidden_21h = torch.bmm(row_1D.expand(2, -1, -1), w_in_2Dh)
    if b_in_H is not None:
        hidden_21h += b_in_H.view(2, 1, -1)
    row_1O = torch.bmm(activate(hidden_21h), w_out_HO.view(2, -1, w_out_HO.shape[1])).sum(0)
    if b_out_O is not None:
        row_1O += b_out_O
    return row_1O


def _affine(rows_nD: Tensor, weight_DH: Tensor, bias_H: Tensor | None) -> Tensor:
    return rows_nD @ weight_DH if bias_H is None else torch.addmm(bias_H, rows_nD, weight_DH)
