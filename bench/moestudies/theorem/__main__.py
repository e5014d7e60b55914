"""``python -m moestudies.theorem``: untrained models on their pairs, one by one, then the summary in docs/paper.md."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from moestudies.theorem.curves import Curve, untrained_curves
from moestudies.theorem.gap import Gaps

QUOTED = 100.0
"""The scale at which the summary is taken."""

HEADER = "T D  router   E P  residual  norms differ  allowance  outputs differ  their sums  sums wrong from a ="
SUMMARY = "T D  router  residual  norms differ  allowance  outputs differ by up to  no 1-Lipschitz g from a ="


def line(curve: Curve) -> str:
    """One model at the largest scale, and the scale from which on the sum of its outputs is beyond the limits."""
    outputs, sums = curve.outputs, curve.sums
    return (
        f"{curve.tokens} {curve.dim}  {curve.router:6s} {curve.experts:3d} {curve.slots}  {_yes(curve.residual):8s} "
        f"{outputs.norm_N[-1]:13.0f} {outputs.allowance_N[-1]:10.0f} {outputs.output_N[-1]:15.1e} "
        f"{sums.output_N[-1]:11.1e}  {_scale(breaks_from(sums))}"
    )


def summary(curves: Sequence[Curve]) -> list[str]:
    """One line for all E and P of a (T, D), router and residual: the largest difference at scale 100."""
    groups = itertools.groupby(sorted(curves, key=_kind), _kind)
    return [_summary_line([*group]) for _, group in groups]


def breaks_from(gaps: Gaps) -> float:
    """The smallest scale from which on, up to the largest, no 1-Lipschitz g is right; infinite without one."""
    after_last_good = int((~gaps.breaks_N).nonzero()[0].max(initial=-1)) + 1
    return float(gaps.scale_N[after_last_good]) if after_last_good < len(gaps.scale_N) else np.inf


def _kind(curve: Curve) -> tuple[int, int, bool, bool]:
    return -curve.tokens, curve.dim, curve.router == "l2", curve.residual


def _summary_line(group: Sequence[Curve]) -> str:
    first, at = group[0], int(np.abs(group[0].outputs.scale_N - QUOTED).argmin())
    apart = max(curve.outputs.output_N[at] for curve in group)
    limits = [breaks_from(curve.outputs) for curve in group]
    return (
        f"{first.tokens} {first.dim}  {first.router:6s}  {_yes(first.residual):8s}  {first.outputs.norm_N[at]:12.1f}  "
        f"{first.outputs.allowance_N[at]:9.1f}  {apart:23.1e}  "
        f"{_scale(min(limits))} ... {_scale(max(limits))}"
    )


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _scale(a: float) -> str:
    return "never" if np.isinf(a) else f"{a:.2g}"


if __name__ == "__main__":
    measured = untrained_curves()
    scale = measured[0].sums.scale_N[-1]
    print(f"Untrained, experts without biases, at scale a = {scale:,.0f}", HEADER, *map(line, measured), sep="\n")
    print(f"\nAll E and P together, at scale a = {QUOTED:,.0f}", SUMMARY, *summary(measured), sep="\n")
