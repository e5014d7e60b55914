"""Rows taken from tokens, several from one, and added up again, with gradients that are the same every time.

On a GPU index_add_, which is also the gradient of index_select, adds in no fixed order; index_put_ sorts first.
"""

from __future__ import annotations

from torch import Tensor


def take(x_ND: Tensor, token_M: Tensor) -> Tensor:
    """rows_MD: a copy of its token for each row."""
    return x_ND.index_select(0, token_M) if x_ND.device.type == "cpu" else x_ND[token_M]


def add_up(rows_MO: Tensor, token_M: Tensor, num_tokens: int) -> Tensor:
    """y_NO: for each token the sum of its rows; 0 for one without."""
    zero_NO = rows_MO.new_zeros(num_tokens, rows_MO.shape[1])
    if rows_MO.device.type == "cpu":
        return zero_NO.index_add(0, token_M, rows_MO)
    return zero_NO.index_put((token_M,), rows_MO, accumulate=True)
