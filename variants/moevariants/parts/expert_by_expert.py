"""Experts one after the other, each on its own rows, with oneDNN's products forward and backward.

What an expert makes in between stays in the processor's cache, and large stacks get their gradient in large pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moevariants.parts import huge_pages, onednn
from moevariants.parts.activations import Activation

BIG = 1 << 20
"""Elements of one weight from which an expert is read from memory once, whatever is asked of it."""


class Stacks(NamedTuple):
    """The experts' parameters; the biases may be None."""

    w_in_EDH: Tensor
    b_in_EH: Tensor | None
    w_out_EHO: Tensor
    b_out_EO: Tensor | None

    def unbind(self) -> list[Stacks]:
        """Each expert's: w_in_DH, b_in_H, w_out_HO, b_out_O."""
        none = (None,) * len(self.w_in_EDH)
        each = (none if stack is None else stack.unbind() for stack in self)
        return [Stacks(*of_one) for of_one in zip(*each, strict=True)]

    def map(self, change: Callable[[Tensor], Tensor]) -> Stacks:
        """Each of them changed."""
        return Stacks(*(None if stack is None else change(stack) for stack in self))  # type: ignore[arg-type]

    def empty(self, busy: set[int]) -> Stacks:
        """Room for a gradient, zero for experts that are not busy."""
        given = self.map(lambda stack: huge_pages.empty(stack.shape, stack))
        for expert, of_one in enumerate(given.unbind()):
            for gradient in of_one if expert not in busy else ():
                if gradient is not None:
                    gradient.zero_()
        return given


class _Turn(NamedTuple):
    """Rows start to stop are those of an expert. It works on ``rows``, some of which may be its neighbours'; ``own``
    are its own among them.

    oneDNN makes a program for each number of rows that it meets, which takes longer than the product (0.4 ms); so
    numbers are rounded up, and what comes of rows of others is thrown away.
    """

    expert: int
    start: int
    stop: int
    rows: slice
    own: slice


def in_turns(rows_ND: Tensor, counts: Sequence[int], stacks: Stacks, activation: Activation) -> Tensor:
    """rows_NO of rows sorted by expert, ``counts`` of them for each; only where ``onednn.serves`` is true.

    An expert without rows is passed over, its weights unread. A single row of a big expert is worth a way of its own.
    768 -> 30720 -> 768, both weights, two threads: 1 row 8.5 ms in two blocks, 13 as plain products, 15 by oneDNN;
    12 rows 28 ms by oneDNN, 65 plain; 25 rows 39 against 90; 100 rows 117 against 162.
    """
    learns = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (rows_ND, *stacks))
    big = stacks.w_in_EDH[0].numel() >= BIG
    if big and not learns and set(counts) <= {0, 1} and stacks.w_out_EHO.shape[1] % 2 == 0:
        busy = [expert for expert, count in zip(stacks.unbind(), counts, strict=True) if count]
        rows = zip(torch.split(rows_ND, 1), busy, strict=True)
        return torch.cat([_in_two_blocks(row_1D, expert, activation) for row_1D, expert in rows])
    turns = list(_turns(counts, len(rows_ND), rounded=not big))
    if learns:
        rows_NO: Tensor = _InTurns.apply(rows_ND, turns, activation, *stacks)
        return rows_NO
    return _forward(rows_ND, turns, activation, stacks, learns=False)[0]


def _in_two_blocks(row_1D: Tensor, expert: Stacks, activation: Activation) -> Tensor:
    """The hidden units of a single row as a batch of 2 blocks of h, read in place: threads share a batch, not a row."""
    w_in_DH, b_in_H, w_out_HO, b_out_O = expert
    w_in_2Dh = w_in_DH.view(len(w_in_DH), 2, -1).transpose(0, 1)
    hidden_21h = torch.bmm(row_1D.expand(2, -1, -1), w_in_2Dh)
    if b_in_H is not None:
        hidden_21h += b_in_H.view(2, 1, -1)
    row_1O = torch.bmm(activation.apply(hidden_21h), w_out_HO.view(2, -1, w_out_HO.shape[1])).sum(0)
    return row_1O if b_out_O is None else row_1O.add_(b_out_O)


def _turns(counts: Sequence[int], rows: int, *, rounded: bool) -> Iterator[_Turn]:
    start = 0
    for expert, count in enumerate(counts):
        if count:
            many = min(_round_up(count), rows) if rounded else count
            first = min(start, rows - many)
            own = slice(start - first, start - first + count)
            yield _Turn(expert, start, start + count, slice(first, first + many), own)
        start += count


def _round_up(count: int) -> int:
    """To a multiple of 8, or of a sixteenth of the power of two below."""
    step = max(8, 1 << max(0, count.bit_length() - 5))
    return -(-count // step) * step


def _forward(
    rows_ND: Tensor, turns: list[_Turn], activation: Activation, stacks: Stacks, *, learns: bool
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """rows_NO; and, where it ``learns``, of each turn the hidden units before and after their activation."""
    rows_NO, hidden, experts = huge_pages.empty((len(rows_ND), stacks.w_out_EHO.shape[2]), rows_ND), [], stacks.unbind()
    for expert, start, stop, rows, own in turns:
        w_in_DH, b_in_H, w_out_HO, b_out_O = experts[expert]
        units_nH = onednn.product(rows_ND[rows], w_in_DH, b_in_H)
        if learns:
            _zero_others(units_nH, own)
        active_nH = activation.apply(units_nH)
        if learns:
            hidden.append((units_nH, active_nH))
        rows_NO[start:stop] = onednn.product(active_nH, w_out_HO, b_out_O)[own]
    return rows_NO, hidden


class _InTurns(torch.autograd.Function):
    """The gradient goes the same turns."""

    @staticmethod
    def forward(
        ctx: Any, rows_ND: Tensor, turns: list[_Turn], activation: Activation, *stacks: *tuple[Tensor | None, ...]
    ) -> Tensor:
        rows_NO, ctx.hidden = _forward(rows_ND, turns, activation, Stacks(*stacks), learns=True)  # type: ignore[arg-type]
        ctx.turns, ctx.activation = turns, activation
        ctx.save_for_backward(rows_ND, *stacks)
        return rows_NO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        rows_ND, *saved = ctx.saved_tensors
        stacks, grad_NO = Stacks(*saved), grad_NO.contiguous()
        grad_ND = huge_pages.empty(rows_ND.shape, rows_ND)
        gradients = stacks.empty(busy={turn.expert for turn in ctx.turns})
        experts, of_experts = stacks.unbind(), gradients.unbind()
        for (expert, start, stop, rows, own), (units_nH, active_nH) in zip(ctx.turns, ctx.hidden, strict=True):
            grad_w_in_DH, grad_b_in_H, grad_w_out_HO, grad_b_out_O = of_experts[expert]
            grad_nO = grad_NO[rows]
            grad_nH = ctx.activation.gradient(onednn.product(grad_nO, experts[expert].w_out_EHO.t()), units_nH)
            _zero_others(grad_nH, own)
            grad_w_out_HO.copy_(onednn.product(active_nH.t(), grad_nO))
            grad_w_in_DH.copy_(onednn.product(rows_ND[rows].t(), grad_nH))
            if grad_b_in_H is not None:
                torch.sum(grad_nH, 0, out=grad_b_in_H)
            if grad_b_out_O is not None:
                torch.sum(grad_nO[own], 0, out=grad_b_out_O)
            grad_ND[start:stop] = onednn.product(grad_nH, experts[expert].w_in_EDH.t())[own]
        return grad_ND, None, None, *gradients


def _zero_others(x_nH: Tensor, own: slice) -> None:
    """What stands in rows of others adds nothing to an expert's gradient; an activation leaves 0 as it is."""
    if own.start:
        x_nH[: own.start] = 0
    if own.stop < len(x_nH):
        x_nH[own.stop :] = 0


def pays(rows: Tensor, stacks: Stacks, rows_each: float) -> bool:
    """Whether turns are the fastest way, for experts with so many rows each, on average.

    From about 4 million multiply-adds a weight and thread on; a big expert that does not learn always. Forward and
    backward in ms, by the grouped product / in turns, E = 32: D 64, H 128, 256 rows, one thread 11.4 / 13.7; D 192,
    H 192 38.8 / 27.6; D 192, H 384 72.9 / 44.7; two threads 8.0 / 13.6, 23.9 / 22.8, 42.9 / 34.4; D 384, H 768
    154 / 90.
    """
    weight = stacks.w_in_EDH[0].numel()
    if not onednn.serves(rows, stacks.w_in_EDH, stacks.w_out_EHO):
        return False
    return rows_each * weight >= (4 << 20) * torch.get_num_threads() or (weight >= BIG and not torch.is_grad_enabled())
