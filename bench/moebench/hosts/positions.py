"""How a host knows where its tokens are: fixed or learned places added to the stream, or queries and keys turned."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Literal

import torch
from torch import Tensor

Positions = Literal["sincos", "learned", "rotary"]
"""sincos: fixed, added to the tokens. learned: parameters, added to the tokens. rotary: in attention alone."""


def std_of(positions: Positions, given: float | None, default: float) -> float | None:
    """The deviation at which learned positions start, spelled out, so that a host has one identity; else None.

    ValueError where it is given and nothing is learned.
    """
    if positions == "learned":
        return default if given is None else given
    if given is not None:
        raise ValueError(f"position_std {given} is of learned positions, and positions are '{positions}'")
    return None


def check_width(positions: Positions, dim: int, heads: int, axes: int) -> None:
    """ValueError where sines and cosines of each axis do not fill the width of a token, or that of a head."""
    width, name = (dim // heads, "dim / heads") if positions == "rotary" else (dim, "dim")
    if positions != "learned" and width % (2 * axes):
        raise ValueError(f"{name} {width} must be a multiple of {2 * axes} for positions '{positions}'")


def angles(grid: Sequence[int], width: int, base: float, highest: float = 1.0) -> Tensor:
    """Angles (T, width) in radians of the T places of a grid, row by row.

    Each axis has ``width / axes`` frequencies, from ``highest`` down to about highest / base radians a place, evenly
    spaced in their logarithm.
    """
    count = width // len(grid)
    frequency_F = highest * base ** -(torch.arange(count, dtype=torch.float64) / count)
    place_TA = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float64) for side in grid)).view(-1, len(grid))
    return (place_TA.unsqueeze(-1) * frequency_F).flatten(1).float()


def sincos(grid: Sequence[int], dim: int) -> Tensor:
    """Sine and cosine (T, D) of the places of a grid, of amplitude 1 (arXiv 1706.03762; in two dimensions, 2104.02057).

    Wavelengths from two places, the shortest that a grid holds, to twice its longest side. The papers' range, from
    2 pi to 20,000 pi, is for long texts: on a grid of 4 x 4 most of its channels hardly change, and neighbours differ
    by a fifth of what they do here. ``dim`` is a multiple of twice the number of axes.
    """
    angle_TF = angles(grid, dim // 2, max(2, *grid), highest=pi)
    return torch.cat([angle_TF.sin(), angle_TF.cos()], 1)


def rotated(x_BhTd: Tensor, angle_TF: Tensor) -> Tensor:
    """Queries or keys of each head, neighbouring channels as pairs turned by the angles of their place, d = 2 F.

    arXiv 2104.09864; the product of two depends on the difference of their places alone.
    """
    sin_TF, cos_TF = angle_TF.sin(), angle_TF.cos()
    if x_BhTd.dtype == angle_TF.dtype:  # complex products: the same digits, several times as fast on a CPU
        pair_BhTF = torch.view_as_complex(x_BhTd.contiguous().view(*x_BhTd.shape[:-1], -1, 2))
        return torch.view_as_real(pair_BhTF * torch.complex(cos_TF, sin_TF)).flatten(-2)
    even_BhTF, odd_BhTF = x_BhTd[..., ::2], x_BhTd[..., 1::2]
    sin_TF, cos_TF = sin_TF.to(x_BhTd.dtype), cos_TF.to(x_BhTd.dtype)
    turned = (even_BhTF * cos_TF - odd_BhTF * sin_TF, odd_BhTF * cos_TF + even_BhTF * sin_TF)
    return torch.stack(turned, -1).flatten(-2)
