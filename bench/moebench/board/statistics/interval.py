"""A number and the range that the data allow for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds.

    ``low`` and ``high`` are None together: the data set no bounds (think of minus and plus infinity).
    ``coverage`` is how often intervals made this way hold the true value, and None without bounds. It is the
    level that was asked for, except for order statistics, where it is what the sample size can reach.
    """

    value: float
    low: float | None = None
    high: float | None = None
    coverage: float | None = None

    def reaches(self, level: float) -> bool:
        """Whether the interval has bounds and covers with at least this probability."""
        return self.coverage is not None and self.coverage >= level


def check_share(value: float, name: str) -> None:
    """Refuse a level or an alpha that is no probability, such as 95 for 0.95."""
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; it must lie between 0 and 1, both left out")
