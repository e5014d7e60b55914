"""What :mod:`moevariants.backends.kernels` launches: Triton's kernels, in its language.

A program writes what no other does, and adds up in a fixed order. Pointers are to contiguous tensors; ``width`` is the
length of a row.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["num_rows"])
def combine_kernel(
    rows: tl.tensor,
    weight: tl.tensor,
    place: tl.tensor,
    y: tl.tensor,
    num_rows: tl.tensor,
    width: tl.tensor,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A program for each token and each block of columns."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for k in tl.range(K, loop_unroll_factor=4):
        row = tl.load(place + token * K + k)
        end = tl.where((row >= 0) & (row < num_rows), width, 0)
        value = tl.load(rows + row * width + column, column < end, other=0.0).to(tl.float32)
        if weight is not None:
            value *= tl.load(weight + token * K + k).to(tl.float32)
        total += value
    tl.store(y + token * width + column, total.to(y.dtype.element_ty), column < width)


@triton.jit(do_not_specialize=["num_rows"])
def combine_backward_kernel(
    grad: tl.tensor,
    rows: tl.tensor,
    weight: tl.tensor,
    place: tl.tensor,
    grad_rows: tl.tensor,
    grad_weight: tl.tensor,
    num_rows: tl.tensor,
    width: tl.tensor,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A program for each token, whose gradient is read once for a block of columns; rows are read and written once."""
    token = tl.program_id(0).to(tl.int64)
    for k in tl.range(K):
        row = tl.load(place + token * K + k)
        end = tl.where((row >= 0) & (row < num_rows), width, 0)
        scale = tl.load(weight + token * K + k).to(tl.float32)
        dot = tl.zeros([BLOCK], tl.float32)
        for start in tl.range(0, width, BLOCK):
            column = start + tl.arange(0, BLOCK)
            inside = column < end
            given = tl.load(grad + token * width + column, inside, other=0.0).to(tl.float32)
            value = tl.load(rows + row * width + column, inside, other=0.0).to(tl.float32)
            tl.store(grad_rows + row * width + column, (scale * given).to(grad_rows.dtype.element_ty), inside)
            dot += given * value
        tl.store(grad_weight + token * K + k, tl.sum(dot, 0).to(grad_weight.dtype.element_ty))


@triton.jit
def activate_kernel(
    units: tl.tensor,
    bias: tl.tensor,
    ends: tl.tensor,
    active: tl.tensor,
    width: tl.tensor,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """A program for a block of columns of a part of an expert's rows."""
    first, stop = rows_of_program(ends, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    add = bias_of_program(bias, column, width)
    for start in tl.range(first, stop, ROWS):
        row = (start + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        inside = (row < stop) & (column < width)[None, :]
        x = tl.load(units + row * width + column[None, :], inside, other=0.0).to(tl.float32) + add
        if KIND == "swiglu":
            gate, up = tl.split(tl.reshape(x, [ROWS, COLUMNS // 2, 2]))
            hidden = tl.program_id(0) * (COLUMNS // 2) + tl.arange(0, COLUMNS // 2)
            fits = (row < stop) & (hidden < width // 2)[None, :]
            y = gate * tl.sigmoid(gate) * up
            tl.store(active + row * (width // 2) + hidden[None, :], y.to(active.dtype.element_ty), fits)
        else:
            tl.store(active + row * width + column[None, :], value_of(x, KIND).to(active.dtype.element_ty), inside)


@triton.jit
def activate_backward_kernel(
    grad: tl.tensor,
    units: tl.tensor,
    bias: tl.tensor,
    ends: tl.tensor,
    grad_units: tl.tensor,
    part: tl.tensor,
    width: tl.tensor,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """As the forward kernel; the sum over the program's rows is written to its place in ``part``."""
    first, stop = rows_of_program(ends, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    add = bias_of_program(bias, column, width)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in tl.range(first, stop, ROWS):
        row = (start + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        inside = (row < stop) & (column < width)[None, :]
        if KIND == "swiglu":
            hidden = tl.program_id(0) * (COLUMNS // 2) + tl.arange(0, COLUMNS // 2)
            fits = (row < stop) & (hidden < width // 2)[None, :]
            given = tl.load(grad + row * (width // 2) + hidden[None, :], fits, other=0.0).to(tl.float32)
            x = tl.load(units + row * width + column[None, :], inside, other=0.0).to(tl.float32) + add
            gate, up = tl.split(tl.reshape(x, [ROWS, COLUMNS // 2, 2]))
            chance = tl.sigmoid(gate)
            of_gate = given * up * chance * (1 + gate * (1 - chance))
            of_units = tl.reshape(tl.join(of_gate, given * gate * chance), [ROWS, COLUMNS])
        else:
            of_units = tl.load(grad + row * width + column[None, :], inside, other=0.0).to(tl.float32)
            if KIND != "linear":
                x = tl.load(units + row * width + column[None, :], inside, other=0.0).to(tl.float32) + add
                of_units *= slope_of(x, KIND)
        if KIND != "linear":
            tl.store(grad_units + row * width + column[None, :], of_units.to(grad_units.dtype.element_ty), inside)
        if part is not None:
            total += of_units
    if part is not None:
        at = (tl.program_id(1) * tl.num_programs(2) + tl.program_id(2)).to(tl.int64) * width + column
        tl.store(part + at, tl.sum(total, 0), column < width)


@triton.jit
def rows_of_program(ends: tl.tensor, ROWS: tl.constexpr) -> tl.tensor:
    """The first of a program's rows, and where they end: a share of whole tiles of its expert's."""
    expert = tl.program_id(2)
    begin = tl.load(ends + expert - 1, expert > 0, other=0)
    end = tl.load(ends + expert)
    share = tl.cdiv(tl.cdiv(end - begin, ROWS), tl.num_programs(1)) * ROWS
    first = begin + tl.program_id(1) * share
    return first, tl.minimum(first + share, end)


@triton.jit
def bias_of_program(bias: tl.tensor, column: tl.tensor, width: tl.tensor) -> tl.tensor:
    """Its expert's, as a row; 0 where there is none."""
    if bias is None:
        return 0.0
    else:  # Triton compiles what follows an early return, whatever the condition.
        return tl.load(bias + tl.program_id(2) * width + column, column < width, other=0.0).to(tl.float32)[None, :]


@triton.jit
def value_of(x: tl.tensor, KIND: tl.constexpr) -> tl.tensor:
    """An activation of single units."""
    if KIND == "gelu":
        return 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    elif KIND == "relu":
        return tl.where(x <= 0, 0.0, x)
    elif KIND == "silu":
        return x * tl.sigmoid(x)
    else:
        tl.static_assert(KIND == "linear")
        return x


@triton.jit
def slope_of(x: tl.tensor, KIND: tl.constexpr) -> tl.tensor:
    """Its derivative."""
    if KIND == "gelu":
        normal = tl.exp(-0.5 * x * x) * 0.3989422804014327
        return 0.5 * (1 + tl.erf(x * 0.7071067811865476)) + x * normal
    elif KIND == "relu":
        return tl.where(x <= 0, 0.0, 1.0)
    else:
        tl.static_assert(KIND == "silu")
        chance = tl.sigmoid(x)
        return chance * (1 + x * (1 - chance))
