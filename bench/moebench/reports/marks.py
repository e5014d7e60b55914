"""Lines, bands and dots of means over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moebench.reports.evidence import Series
from moebench.reports.verdict import mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curve(axis: Axes, points: Mapping[float, Series], colour: str, **style: Any) -> bool:
    """Means over seeds at each x, joined, with a band over their intervals; whether there was anything to draw."""
    known = [(x, found) for x, values in sorted(points.items()) if (found := mean(values))]
    if not known:
        return False
    axis.plot([x for x, _ in known], [found.value for _, found in known], color=colour, **style)
    bounded = [(x, f.low, f.high) for x, f in known if f.low is not None and f.high is not None]
    if bounded:
        x, low, high = zip(*bounded, strict=True)
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    return True


def bar(axis: Axes, x: float, values: Series, colour: str, *, across: bool = False, **style: Any) -> None:
    """One mean with its interval, upwards or across."""
    found = mean(values)
    if found is None:
        return
    place = (found.value, x) if across else (x, found.value)
    if found.low is not None and found.high is not None:
        ends = [[found.value - found.low], [found.high - found.value]]
        error: dict[str, Any] = {"xerr" if across else "yerr": ends}
        axis.errorbar(*place, **error, color=colour, elinewidth=1.4, capsize=0, fmt="none")
    axis.plot(*place, color=colour, linestyle="none", **{"marker": "o", **style})


def share_label(share: float) -> str:
    """``1/8`` for 0.125."""
    return "1" if share == 1 else f"1/{round(1 / share)}"
