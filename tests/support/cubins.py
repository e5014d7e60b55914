"""Triton's kernels compiled for GPUs that need not be there, and what their machine code takes and does."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from moebench.contract.shape import ACTIVATIONS
from moevariants.backends import kernel_code, kernels

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
"""Comes with Triton."""

ARCHITECTURES = (80, 89, 90)
"""A100; L40S and RTX 40; H100 and H200."""

MOST_REGISTERS = 96
"""A thread: 20 warps then fit on a multiprocessor, which has 65,536."""


@dataclass(frozen=True)
class Case:
    """A kernel with the types of its arguments, constants (None: not given) and warps, for rows of a multiple of 16."""

    kernel: str
    types: dict[str, str]
    constants: dict[str, Any]
    warps: int

    def __str__(self) -> str:
        rows = self.types.get("rows") or self.types.get("grad") or self.types["units"]
        constants = [f"{name}={value}" for name, value in self.constants.items()]
        return " ".join([self.kernel, rows[1:], *constants])

    @property
    def writes_rows(self) -> bool:
        """Not the sums of a gradient that is passed on as it is."""
        return (self.kernel, self.constants.get("KIND")) != ("activate_backward_kernel", "linear")


def cases(rows: str, widths: tuple[int, ...] = (2048, 512), top_k: tuple[int, ...] = (8, 6)) -> Iterator[Case]:
    """Every kernel as it is launched for rows of this type: with weights or biases, and without."""
    row, wide, sizes = f"*{rows}", "*fp32", {"num_rows": "i32", "width": "i32"}
    moves = sizes | {"place": "*i64", "rows": row}
    for width, k in product(widths, top_k):
        block, warps = kernels.columns_and_warps(width)
        constants = {"K": k, "BLOCK": block}
        yield Case("combine_kernel", moves | {"y": row, "weight": wide}, constants, warps)
        yield Case("combine_kernel", moves | {"y": row}, constants | {"weight": None}, warps)
        more = {"grad": row, "weight": wide, "grad_rows": row, "grad_weight": wide}
        yield Case("combine_backward_kernel", moves | more, constants, warps)
    for kind, biased in product((*ACTIVATIONS, "linear"), (True, False)):
        tile = {"KIND": kind, "ROWS": kernels.ROWS, "COLUMNS": kernels.COLUMNS}
        types = {"ends": "*i32", "width": "i32"} | ({"bias": wide} if biased else {})
        forward = backward = tile if biased else tile | {"bias": None}
        if kind == "linear" and not biased:
            continue  # nothing to be done
        yield Case("activate_kernel", types | {"units": row, "active": row}, forward, 4)
        types |= {"grad": row, "grad_units": row}
        if biased:
            types["part"] = wide
        else:
            backward = backward | {"part": None}
        if kind == "linear":
            backward = backward | {"units": None}
        else:
            types["units"] = row
        yield Case("activate_backward_kernel", types, backward, 4)


@dataclass(frozen=True)
class Cubin:
    """registers and bytes of ``stack`` and ``local`` memory a thread; ``loads`` and ``stores`` of rows, in bits."""

    registers: int
    stack: int
    local: int
    loads: set[int]
    stores: set[int]


def compiled(case: Case, architecture: int, folder: Path) -> Cubin:
    """The machine code, which is written below ``folder``."""
    kernel = getattr(kernel_code, case.kernel)
    names = kernel.arg_names
    signature = {name: case.types.get(name, "constexpr") for name in names}
    constants = {(names.index(name),): value for name, value in case.constants.items()}
    aligned = [at for at, name in enumerate(names) if name == "width" or signature[name].startswith("*")]
    source = ASTSource(kernel, signature, constants, {(at,): [["tt.divisibility", 16]] for at in aligned})
    options = {"num_warps": case.warps, "enable_fp_fusion": True}
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    path = folder / "kernel.cubin"
    path.write_bytes(made.asm["cubin"])
    used = _dump("-res-usage", path)
    registers, stack, local = (int(re.search(rf"{name}:(\d+)", used)[1]) for name in ("REG", "STACK", "LOCAL"))
    code = _dump("-sass", path)
    loads, stores = (
        {int(bits or 32) for bits in re.findall(rf"\b{name}\.E(?:\.[A-Z]\w*)*(?:\.(\d+))?\b", code)}
        for name in ("LDG", "STG")
    )
    return Cubin(registers, stack, local, loads, stores)


def _dump(what: str, path: Path) -> str:
    return subprocess.run([CUOBJDUMP, what, path], capture_output=True, text=True, check=True).stdout
