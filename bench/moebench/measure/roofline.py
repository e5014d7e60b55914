"""What this machine does at best, measured now: products of matrices, and reading memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from moebench.measure.clock import Part, median_ms

ROWS, INNER, COLUMNS = 512, 768, 8192
"""A product of the kind that a large expert has at a large batch."""

READ_MIB = 512
"""More than any cache holds."""

REPEATS = 7
MIB = 2**20


@dataclass(frozen=True)
class Roofline:
    """flops: operations a second in products of float32 matrices. bytes: bytes a second read from memory by the product
    of a matrix and a vector. Both with the threads that torch has now.
    """

    flops: float
    bytes: float

    def bound_ms(self, flops: float, read_bytes: float) -> float:
        """No computation with so many operations, that reads so much, is faster: the roofline model."""
        return max(flops / self.flops, read_bytes / self.bytes) * 1e3


def measure_roofline(device: torch.device) -> Roofline:
    """Medians of a few repeats after a warm-up."""
    a, b = torch.ones(ROWS, INNER, device=device), torch.ones(INNER, COLUMNS, device=device)
    out = torch.empty(ROWS, COLUMNS, device=device)
    table = torch.ones(READ_MIB * MIB // 4 // COLUMNS, COLUMNS, device=device)
    vector, sums = torch.ones(COLUMNS, device=device), torch.empty(len(table), device=device)
    product_ms = _median(lambda: torch.mm(a, b, out=out), device)
    read_ms = _median(lambda: torch.mv(table, vector, out=sums), device)
    return Roofline(2 * ROWS * INNER * COLUMNS / product_ms * 1e3, table.numel() * 4 / read_ms * 1e3)


def _median(part: Part, device: torch.device) -> float:
    part()
    return median_ms(part, device, REPEATS)
