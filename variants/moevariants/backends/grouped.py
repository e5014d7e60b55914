"""All experts in two grouped products over the sorted rows (``torch.nn.functional.grouped_mm``).

What that function refuses is dealt with here, so that nobody else sees it: it takes no bias and no float64
(which the loop computes), autocast passes it by, and operands and gradients need rows of 16-byte multiples
and no stride of zero. Padding happens inside the call; stored parameters keep their logical size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import flop_registry, register_flop_formula

from moevariants.backends import loop
from moevariants.parts import devices, fused
from moevariants.parts.expert_by_expert import Stacks
from moevariants.parts.experts import Experts


def grouped_mm_flops(a: Sequence[int], b: Sequence[int], *_: Any, **__: Any) -> int:
    """Two FLOPs a multiply-add, for each of the four combinations of 2-D and 3-D operands.

    Where both have a group axis every group works on all of them; where one has it the other's rows are
    shared out.
    """
    return 2 * a[-2] * a[-1] * b[-1] * (a[0] if len(a) == len(b) == 3 else 1)


# torch's FLOP counter counts the product as nothing, unless torch has brought its own formula.
_target = getattr(torch.ops.aten, "_grouped_mm", None)
if _target is not None and _target not in flop_registry:
    register_flop_formula(_target)(grouped_mm_flops)


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """Two of torch's grouped products over the sorted rows.

    The loop takes over where they do not work or are slow, or where there are no rows.
    """
    if not serves(experts, rows_ND):
        return loop.run(experts, rows_ND, counts_E)
    dtype = _type_of(rows_ND)
    lane = 16 // dtype.itemsize
    (_, dim, units), (_, hidden, out_dim) = experts.w_in_EDH.shape, experts.w_out_EHO.shape
    more_D, more_H, more_O = -dim % lane, -hidden % lane, -out_dim % lane
    more_units = more_H * (units // hidden)
    stacks = experts.stacks
    if more_D or more_H or more_O or dtype != experts.w_in_EDH.dtype:
        stacks, counts_E = _of_busy(stacks, counts_E)
    ends_E = counts_E.cumsum(0, dtype=torch.int32)
    # Rows of nobody go to the last expert: behind the last end the product leaves memory as it was, NaN perhaps.
    ends_E[-1] = len(rows_ND)
    w_in, b_in = _padded(stacks.w_in_EDH, dtype, more_units, more_D), stacks.b_in_EH
    w_out, b_out = _padded(stacks.w_out_EHO, dtype, more_O, more_H), stacks.b_out_EO
    b_in, b_out = (
        None if bias is None else _padded(bias, bias.dtype, more)
        for bias, more in ((b_in, more_units), (b_out, more_O))
    )
    # Padded hidden units meet rows of zeros in w_out, whatever the activation makes of them.
    units_NU = _product(_padded(rows_ND, dtype, more_D), w_in, ends_E)
    if (kernels := fused.kernels_for(units_NU)) is not None:
        rows_NH = kernels.activate(units_NU, b_in, ends_E, experts.activation_name)
        rows_NO = kernels.activate(_product(rows_NH, w_out, ends_E), b_out, ends_E, "linear")
    else:
        row_N = torch.arange(len(rows_ND), device=rows_ND.device, dtype=torch.int32)
        expert_N = torch.searchsorted(ends_E, row_N, right=True)
        rows_NH = experts.activate(_biased(units_NU, b_in, expert_N))
        rows_NO = _biased(_product(rows_NH, w_out, ends_E), b_out, expert_N)
    return rows_NO[:, :out_dim] if more_O else rows_NO


def serves(experts: Experts, rows_ND: Tensor) -> bool:
    """Whether :func:`run` has a grouped product for these rows, rather than the loop."""
    device = rows_ND.device.type
    too_many = device == "cuda" and experts.count > MOST_GROUPS
    return why_not(device, _type_of(rows_ND)) is None and not too_many and len(rows_ND) > 0


def _type_of(rows_ND: Tensor) -> torch.dtype:
    """In which products are computed."""
    device = rows_ND.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows_ND.dtype


def _of_busy(stacks: Stacks, counts_E: Tensor) -> tuple[Stacks, Tensor]:
    """The experts that have rows, before their weights are copied: those of the others stay unread.

    Not on a GPU: it would be waited for.
    """
    if not devices.on_cpu(counts_E):
        return stacks, counts_E
    busy_e = counts_E.nonzero().squeeze(1)
    if len(busy_e) == len(counts_E):
        return stacks, counts_E
    return stacks.map(lambda stack: stack.index_select(0, busy_e)), counts_E[busy_e]


def available() -> str | None:
    """Why the grouped product cannot work on this machine, or None where some device and type have it."""
    reason = why_not("cpu", torch.float32)
    return why_not("cuda", torch.bfloat16) if reason and torch.cuda.is_available() else reason


MOST_GROUPS = 1023
"""On CUDA torch refuses more."""

FAST_ON = (9, 10)
"""Major compute capabilities for which torch has a grouped product of its own, for bf16. Elsewhere on CUDA, newer GPUs
included, it waits for the offsets and multiplies expert by expert; :mod:`moevariants.backends.loop` needs one wait.
"""


@cache
def why_not(device: str, dtype: torch.dtype) -> str | None:
    """Why the grouped product does not work with this device and type, or works slowly, found by trying; or None."""
    if not hasattr(F, "grouped_mm"):
        return f"torch {torch.__version__} has no torch.nn.functional.grouped_mm"
    if device == "cuda" and (slow := _slow(dtype)):
        return slow
    # No rows on the CPU, so that a FLOP counter that happens to be on sees none.
    rows = 0 if device == "cpu" else 16
    try:
        with torch.inference_mode(False), torch.enable_grad():
            a_ND = torch.ones(rows, 16, device=device, dtype=dtype, requires_grad=True)
            b_EDH = torch.ones(2, 16, 16, device=device, dtype=dtype, requires_grad=True)
            ends_E = torch.tensor([0, rows], device=device, dtype=torch.int32)
            y_NH = F.grouped_mm(a_ND, b_EDH, offs=ends_E)
            torch.autograd.grad(y_NH, (a_ND, b_EDH), torch.ones_like(y_NH))
    except (RuntimeError, NotImplementedError) as error:
        return f"grouped_mm refuses {dtype} on {device}: {str(error).splitlines()[0]}"
    return None


def _slow(dtype: torch.dtype) -> str | None:
    major, minor = torch.cuda.get_device_capability()
    if major not in FAST_ON:
        fast = " and ".join(f"{each}.x" for each in FAST_ON)
        return f"grouped_mm is fast on compute capability {fast} alone; this GPU has {major}.{minor}"
    return None if dtype == torch.bfloat16 else f"grouped_mm is fast on CUDA in bfloat16 alone, not in {dtype}"


def _padded(x: Tensor, dtype: torch.dtype, last: int, last_but_one: int = 0) -> Tensor:
    """x in the type of the product, with zeros added at the end of its last two axes."""
    x = x.to(dtype)
    return F.pad(x, (0, last, 0, last_but_one)) if last or last_but_one else x


def _product(rows_ND: Tensor, weight_EDH: Tensor, ends_E: Tensor) -> Tensor:
    return F.grouped_mm(rows_ND.contiguous(), weight_EDH, offs=ends_E)


def _biased(product_NH: Tensor, bias_EH: Tensor | None, expert_N: Tensor) -> Tensor:
    bias_EH = None if bias_EH is None else bias_EH.to(product_NH.dtype)
    rows_NH: Tensor = _AddBias.apply(product_NH, bias_EH, expert_N)
    return rows_NH


class _AddBias(torch.autograd.Function):
    """product_NH += bias_EH[expert_N]; its gradient is deterministic, and contiguous for the product."""

    @staticmethod
    def forward(ctx: Any, product_NH: Tensor, bias_EH: Tensor | None, expert_N: Tensor) -> Tensor:
        ctx.save_for_backward(expert_N)
        ctx.num_experts = 0 if bias_EH is None else len(bias_EH)
        ctx.mark_dirty(product_NH)
        return product_NH if bias_EH is None else product_NH.add_(bias_EH.index_select(0, expert_N))

    @staticmethod
    def backward(ctx: Any, grad_NH: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (expert_N,) = ctx.saved_tensors
        grad_NH = grad_NH.contiguous()
        return grad_NH, _sum_by_expert(grad_NH, expert_N, ctx.num_experts), None


def _sum_by_expert(grad_NH: Tensor, expert_N: Tensor, num_experts: int) -> Tensor | None:
    """grad_EH; without index_add_ on a GPU, whose order of addition varies."""
    if not num_experts:
        return None
    if devices.on_cpu(grad_NH):
        return grad_NH.new_zeros(num_experts, grad_NH.shape[1]).index_add_(0, expert_N, grad_NH)
    return F.one_hot(expert_N, num_experts).to(grad_NH.dtype).t() @ grad_NH
