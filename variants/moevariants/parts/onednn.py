"""oneDNN's product of float32 matrices on a CPU: on some processors twice as fast as the one torch takes.

torch has it and uses it inside compiled models, but offers it nowhere for float32; so it is asked for by its internal
name, tried once, and done without where it is missing or wrong. It reads operands in place, transposed ones too.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.flop_counter import flop_registry, register_flop_formula

from moevariants.parts import devices

SMALL = 1 << 21
"""Multiply-adds of a product below which calling it costs more than it saves."""


def product(rows_nI: Tensor, weight_IJ: Tensor, bias_J: Tensor | None = None) -> Tensor:
    """rows_nJ = rows W + b, without a gradient; only where :func:`serves` is true."""
    rows_nJ: Tensor = _operator()(rows_nI, weight_IJ.t(), bias_J, "none", [], "")
    return rows_nJ


def serves(rows: Tensor, *weights: Tensor) -> bool:
    """Whether these may go through :func:`product`: float32, on a CPU, no autocast.

    And only with whole weights, or their transpose: a slice of columns takes a thousand times as long.
    """
    return (
        all(devices.on_cpu(x) and x.dtype == torch.float32 for x in (rows, *weights))
        and all(weight.is_contiguous() or weight.mT.is_contiguous() for weight in weights)
        and not torch.is_autocast_enabled("cpu")
        and available()
    )


def matmul(x_BTI: Tensor, weight_IJ: Tensor, bias_J: Tensor | None = None) -> Tensor:
    """y_BTJ = x W + b, by oneDNN forward and backward where it serves and pays, else by torch."""
    if x_BTI.numel() * weight_IJ.shape[1] < SMALL or not serves(x_BTI, weight_IJ):
        return F.linear(x_BTI, weight_IJ.t(), bias_J)
    y_BTJ: Tensor = _Product.apply(x_BTI, weight_IJ, bias_J)
    return y_BTJ


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTI: Tensor, weight_IJ: Tensor, bias_J: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_BTI, weight_IJ)
        return product(x_BTI, weight_IJ, bias_J)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTJ: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_BTI, weight_IJ = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        x_NI, grad_NJ = x_BTI.flatten(0, -2), grad_BTJ.flatten(0, -2)
        grad_IJ = None
        if of_weight:  # the narrower one is transposed: 4.1 ms instead of 6.9 for 2,048 rows, 64 x 1,376
            wide = x_NI.shape[1] <= grad_NJ.shape[1]
            grad_IJ = product(x_NI.t(), grad_NJ) if wide else product(grad_NJ.t(), x_NI).t()
        return product(grad_BTJ, weight_IJ.t()) if of_x else None, grad_IJ, grad_NJ.sum(0) if of_bias else None


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
    """Two a multiply-add; the weight comes transposed, (J, I)."""
    inputs, outputs = rows[-1], weight[0]
    total = 2 * outputs
    for extent in rows[:-1]:
        total *= extent
    return int(total * inputs)
