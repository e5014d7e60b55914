"""Products of a few rows with a large matrix on a CPU, which is read once and in place.

torch has oneDNN's product and uses it inside compiled models, but offers it nowhere for float32; so it is asked for by
its internal name, tried once, and done without where it is missing or wrong.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula


def product(rows_nD: Tensor, weight_DH: Tensor, bias_H: Tensor | None) -> Tensor:
    """rows_nH = rows W + b; only where :func:`serves` says so."""
    rows_nH: Tensor = _operator()(rows_nD, weight_DH.t(), bias_H, "none", [], "")
    return rows_nH


def serves(rows_nD: Tensor, *weights: Tensor) -> bool:
    """Whether these rows may go through :func:`product`: float32, on a CPU, no autocast, no gradient.

    And only with whole weights: a slice of columns takes a thousand times as long.
    """
    return (
        rows_nD.device.type == "cpu"
        and rows_nD.dtype == torch.float32
        and all(weight.is_contiguous() for weight in weights)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and available()
    )


@cache
def available() -> bool:
    """Whether this torch has the operator and it multiplies; its FLOPs are made countable."""
    try:
        operator = _operator()
        with torch.inference_mode():
            given = operator(torch.ones(2, 3), torch.full((3, 4), 2.0).t(), torch.ones(4), "none", [], "")
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return False
    if given.shape != (2, 4) or not bool((given == 7).all()):
        return False
    if operator not in flop_registry:
        register_flop_formula(operator)(_flops)
    return True


def _operator() -> Any:
    return torch.ops.mkldnn._linear_pointwise


def _flops(rows: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Two a multiply-add; the weight comes transposed, (H, D)."""
    return int(2 * rows[0] * rows[1] * weight[0])
