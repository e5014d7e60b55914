"""How far a model's answers to a pair differ, and how far they would have to differ."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moebench.errors import UsageError
from moestudies.theorem.pairs import Array, PairFamily

SCALES = tuple(10 ** (exponent / 10) for exponent in range(-10, 41))
"""a: 51 scales from 0.1 to 10,000, ten to a decade."""


@dataclass(frozen=True)
class Gaps:
    """One number at each scale.

    norm_N: |t(A) - t(B)|, t the norm over all entries. output_N: the distance of the two outputs, of vectors over
    all their entries. allowance_N: max{1, t(A)/20} + max{1, t(B)/20}, the most by which two outputs that are both
    right within the theorem's limits may fail to differ.
    """

    scale_N: Array
    norm_N: Array
    output_N: Array
    allowance_N: Array

    @property
    def breaks_N(self) -> npt.NDArray[np.bool_]:
        """Where no g of Lipschitz constant 1 after this output is within the limits for both A and B.

        A model whose one output is its estimate of t is such a g: it is wrong there, on A, on B or on both.
        """
        return self.norm_N - self.output_N > self.allowance_N

    @property
    def breaks_from(self) -> float | None:
        """The smallest scale from which on, up to the largest, no such g is right; None without one."""
        after_last_good = int((~self.breaks_N).nonzero()[0].max(initial=-1)) + 1
        return float(self.scale_N[after_last_good]) if after_last_good < len(self.scale_N) else None


def allowance(norm: Array) -> Array:
    """max{1, t/20}, the error that the theorem allows at an input of norm t."""
    return np.maximum(1.0, norm / 20)


def measure(
    model: nn.Module,
    family: PairFamily,
    scale_N: Array,
    predict: Callable[[Any, Tensor], Tensor] = nn.Module.__call__,
) -> Gaps:
    """The gaps of ``predict(model, x_BTD)``, numbers (B,) or vectors (B, ...), in float64.

    A copy of the model is used, on the CPU, in evaluation mode. ``predict`` is for models that take their input in
    another form. :class:`UsageError` for outputs without one entry per input.
    """
    a_NTD, b_NTD = family.at(scale_N)
    x_BTD = torch.from_numpy(np.concatenate([a_NTD, b_NTD]))
    wide = copy.deepcopy(model).to("cpu", torch.float64).eval()
    with torch.no_grad():
        y = predict(wide, x_BTD)
    if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != len(x_BTD):
        given = f"a tensor of shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise UsageError(
            f"{type(model).__name__} gives {given} for {len(x_BTD)} inputs; one row for each input is needed.",
            code="one-row-per-input",
            model=type(model).__name__,
            given=given,
        )
    of_a, of_b = y.flatten(1).chunk(2) if y.ndim > 1 else y.unsqueeze(1).chunk(2)
    norm_a_N, norm_b_N = _norms(a_NTD), _norms(b_NTD)
    return Gaps(
        scale_N=scale_N,
        norm_N=np.abs(norm_a_N - norm_b_N),
        output_N=(of_a - of_b).norm(dim=1).numpy(),
        allowance_N=allowance(norm_a_N) + allowance(norm_b_N),
    )


def _norms(x_NTD: Array) -> Array:
    norm_N: Array = np.sqrt(np.square(x_NTD).sum((1, 2)))
    return norm_N
