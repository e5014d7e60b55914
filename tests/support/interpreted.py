"""Triton's kernels by its interpreter, on a CPU in float32: `python tests/support/interpreted.py` prints a line of JSON
with what is wrong in each case, "" where nothing is. A process of its own, because Triton reads TRITON_INTERPRET once.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from moebench.contract import Context, LayerShape
from moebench.contract.shape import ACTIVATIONS
from moevariants.parts import devices, fused
from moevariants.parts.dispatch import Dispatch, combine_rows, plan_dispatch, take_rows
from moevariants.sparse_topk import PRESETS, SparseTopK

CASES: dict[str, Callable[[], None]] = {}


def case(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Under this name."""

    def note(run: Callable[[], None]) -> Callable[[], None]:
        CASES[name] = run
        return run

    return note


def with_kernels(run: Callable[[], list[Tensor]], *, asked: int = 1) -> list[Tensor]:
    """What ``run`` gives with the kernels in the place of torch's operations, which are asked for so often at least."""
    from moevariants.backends import kernels

    found, plain = [], fused.kernels_for

    def here(rows: Tensor) -> fused.Kernels:
        found.append(rows.shape)
        return kernels

    fused.kernels_for = here
    try:
        given = run()
    finally:
        fused.kernels_for = plain
    assert len(found) >= asked, "the kernels were not asked for"
    return given


def equal(run: Callable[[], list[Tensor]], **asked: int) -> None:
    """The kernels agree with torch, in values, types and shapes."""
    for one, other in zip(with_kernels(run, **asked), run(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def step(run: Callable[..., Tensor], *leaves: Tensor) -> list[Tensor]:
    """The result, and the gradients of its weighted sum."""
    torch.manual_seed(1)
    result = run(*leaves)
    return [result, *torch.autograd.grad(result, leaves, torch.randn_like(result))]


# Combine and its backward pass: tokens, experts, choices, width, share of choices that are kept.
for sizes in [(7, 5, 3, 37, None), (7, 5, 3, 37, 0.6), (9, 4, 1, 16, 0.5), (3, 9, 8, 2100, 0.7), (5, 3, 2, 1, 0.0)]:

    @case(f"combine {sizes}")
    def _(sizes=sizes) -> None:
        tokens, experts, top_k, width, share = sizes
        torch.manual_seed(0)
        chosen_NK = torch.rand(tokens, experts).argsort(-1)[:, :top_k]
        kept_NK = None if share is None else torch.rand(tokens, top_k) < share
        for cut in (True, False):
            dispatch = plan_dispatch(chosen_NK, experts, kept_NK, cut=cut)
            x_ND = torch.randn(tokens, width, requires_grad=True)
            weight_NK = torch.rand(tokens, top_k, requires_grad=True)

            def run(x_ND=x_ND, weight_NK=weight_NK, dispatch=dispatch) -> list[Tensor]:
                return step(lambda x, w: combine_rows(take_rows(x, dispatch).square(), w, dispatch), x_ND, weight_NK)

            equal(run, asked=4)


@case("a place of -1 is none")
def _() -> None:
    from moevariants.backends import kernels

    # Beside them in memory is what would be seen.
    rows_MO, weight_NK = torch.full((5, 5), torch.nan)[1:4], torch.rand(2, 2)
    rows_MO.normal_()
    given = [torch.tensor(places) for places in ([[0, -1], [2, 1]], [[0, 3], [2, 1]])]
    one, other = (kernels.combine(rows_MO, weight_NK, place_NK) for place_NK in given)
    assert torch.equal(one, other)
    assert one.isfinite().all()
    grad_NO = torch.randn(2, 5)
    one, other = (
        kernels.combine_backward(grad_NO, rows_MO, weight_NK, place_NK, every_row=False) for place_NK in given
    )
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert one[1][0, 1] == 0


@case("rows of nobody are not read, and get no gradient")
def _() -> None:
    chosen_NK, kept_NK = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, False], [False, True]])
    dispatch = plan_dispatch(chosen_NK, 2, kept_NK, cut=False)
    rows_MO = torch.randn(4, 5).where(dispatch.live_M.unsqueeze(1), torch.nan).requires_grad_()
    weight_NK = torch.rand(2, 2, requires_grad=True)
    y_NO, grad_MO, grad_NK = with_kernels(
        lambda: step(lambda rows, weight: combine_rows(rows, weight, dispatch), rows_MO, weight_NK)
    )
    assert all(x.isfinite().all() for x in (y_NO, grad_MO, grad_NK))
    assert torch.equal(grad_MO.any(1), dispatch.live_M)
    assert torch.equal(grad_NK != 0, kept_NK)


@case("weights and their gradients stay float32 beside rows of bfloat16")
def _() -> None:
    dispatch: Dispatch = plan_dispatch(torch.tensor([[0, 1], [1, 0]]), 2)
    weight_NK = torch.tensor([[1.0, 2**-12], [0.5, 1.0]], requires_grad=True)
    rows_MO = torch.tensor([[256.0], [1.0], [3.0], [-256.0]]).bfloat16().requires_grad_()
    y_NO, grad_MO, grad_NK = with_kernels(
        lambda: step(lambda rows, weight: combine_rows(rows, weight + 2**-10, dispatch), rows_MO, weight_NK)
    )
    assert (y_NO.dtype, grad_MO.dtype, grad_NK.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    place_NK = dispatch.place_NK
    wanted_NO = (rows_MO.float()[place_NK] * (weight_NK + 2**-10).unsqueeze(-1)).sum(1)
    assert torch.equal(y_NO, wanted_NO.bfloat16())
    torch.manual_seed(1)
    grad_NO = torch.randn_like(y_NO)
    assert torch.equal(grad_NK, (rows_MO.float()[place_NK] * grad_NO.float().unsqueeze(1)).sum(-1))


# Activations: the rows of each expert, units.
LOADS = {"odd": ([3, 0, 5, 1], 34), "one": ([0, 1, 0], 2), "two parts": ([700, 0, 75], 6), "wide": ([2, 4], 262)}
for name in (*ACTIVATIONS, "linear"):
    for bias in (True, False):
        for load, (counts, units) in LOADS.items():

            @case(f"{name} bias={bias} {load}")
            def _(name=name, bias=bias, counts=counts, units=units) -> None:
                from moevariants.backends import kernels

                torch.manual_seed(0)
                ends_E = torch.tensor(counts).cumsum(0).int()
                expert_M = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
                units_MU = torch.randn(sum(counts), units, requires_grad=True)
                leaves = [units_MU, torch.randn(len(counts), units, requires_grad=True)][: 1 + bias]
                apply = ACTIVATIONS.get(name, lambda x: x)
                # Times 1, because "linear" may write in place.
                got = step(lambda x, b=None: kernels.activate(x * 1, b, ends_E, name), *leaves)
                wanted = step(lambda x, b=None: apply(x if b is None else x + b[expert_M]), *leaves)
                for one, other in zip(got, wanted, strict=True):
                    assert one.is_contiguous()
                    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@case("linear gives a contiguous gradient to the product, with a bias or without")
def _() -> None:
    from moevariants.backends import kernels

    for bias_EU in (None, torch.ones(1, 3)):
        strides: list[tuple[int, ...]] = []
        units_MU = torch.randn(2, 3, requires_grad=True) * 1
        units_MU.register_hook(lambda grad, strides=strides: strides.append(grad.stride()))
        kernels.activate(units_MU, bias_EU, torch.tensor([2], dtype=torch.int32), "linear").sum().backward()
        assert strides == [(3, 1)], strides


@case("a NaN passes every activation")
def _() -> None:
    from moevariants.backends import kernels

    units_MU, ends_E = torch.full((2, 4), torch.nan), torch.tensor([2], dtype=torch.int32)
    for name in ACTIVATIONS:
        assert kernels.activate(units_MU, None, ends_E, name).isnan().all(), name


# Whole layers, as on a GPU: every branch for one, rows of nobody kept, widths that the product has to pad.
for preset in (None, "switch", "gshard", "v_moe"):
    for activation, bias in (("gelu", True), ("swiglu", False)):

        @case(f"layer {preset} {activation}")
        def _(preset=preset, activation=activation, bias=bias) -> None:
            torch.manual_seed(0)
            shape = LayerShape(dim=21, out_dim=19, tokens=None, activation=activation, bias=bias)
            settings = {"experts": 9, "loss/balance": 0.0, **(PRESETS[preset] if preset else {})}
            layer = SparseTopK().layer(shape, 13, settings).eval()
            layer.experts.set_backend("grouped")
            x_BTD = torch.randn(2, 11, 21, requires_grad=True)

            def forward(x_BTD: Tensor, *_: Tensor) -> Tensor:
                return layer.compute(x_BTD, layer.route(x_BTD, Context()))

            plain, devices.on_cpu = devices.on_cpu, lambda x: False
            try:
                equal(lambda: step(forward, x_BTD, *layer.parameters()), asked=5)
            finally:
                devices.on_cpu = plain


def main() -> None:
    """Run every case, or those whose names have the first argument in them."""
    found, part = {}, "".join(sys.argv[1:2])
    for name, run in ((name, run) for name, run in CASES.items() if part in name):
        try:
            run()
            found[name] = ""
        except Exception:
            found[name] = traceback.format_exc(limit=-3)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
