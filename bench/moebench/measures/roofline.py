"""What this machine does at best, measured now: products of matrices, and reading memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from moebench.measures.clock import Part, median_ms

SHAPES = ((512, 768, 8192), (512, 8192, 768), (2048, 2048, 2048))
"""Products (rows, inner, columns) of the kind that large experts have at large batches; the fastest counts."""

ON_CUDA = ((8192, 4096, 8192), (8192, 8192, 8192), (16384, 2048, 8192))
"""There smaller products do not fill the device."""

READ_MIB = 512
"""More than any cache holds."""

REPEATS = 7
MIB = 2**20


@dataclass(frozen=True)
class Roofline:
    """flops: operations a second in products of matrices in a run's precision. bytes: bytes a second read from memory.
    Both with the threads that torch has now.
    """

    flops: float
    bytes: float

    def bound_ms(self, flops: float, read_bytes: float) -> float:
        """No computation with so many operations, that reads so much, is faster: the roofline model."""
        return max(flops / self.flops, read_bytes / self.bytes) * 1e3


def measure_roofline(device: torch.device, precision: str = "fp32") -> Roofline:
    """The fastest of some products, and of two ways to read a large matrix, each at its best of a few repeats: a bound
    that a layer could pass would be none.

    Numbers are random: constant ones take less power, so that a GPU multiplies them faster.
    """
    table = torch.randn(READ_MIB * MIB // 4 // 8192, 8192, device=device)
    vector = torch.randn(8192, device=device)
    read_ms = min(_best_ms(table.sum, device), _best_ms(lambda: torch.mv(table, vector), device))
    shapes = ON_CUDA if device.type == "cuda" else SHAPES
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Roofline(max(_flops(shape, device, dtype) for shape in shapes), table.numel() * 4 / read_ms * 1e3)


def _flops(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> float:
    rows, inner, columns = shape
    a = torch.randn(rows, inner, device=device, dtype=dtype)
    b = torch.randn(inner, columns, device=device, dtype=dtype)
    out = torch.empty(rows, columns, device=device, dtype=dtype)
    ways: list[Part] = [lambda: torch.mm(a, b, out=out)]
    onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if onednn and dtype == torch.float32:
        # oneDNN's own product, which is the faster one on some processors, and twice as fast on some of AMD's.
        a_own, b_own = a.to_mkldnn(), b.t().contiguous().to_mkldnn()
        ways.append(lambda: F.linear(a_own, b_own))
    return 2 * rows * inner * columns / min(_best_ms(way, device) for way in ways) * 1e3


def _best_ms(part: Part, device: torch.device) -> float:
    part()
    return min(median_ms(part, device, 1) for _ in range(REPEATS))
