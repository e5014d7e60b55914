"""Numbers and names as people read them. JSON and CSV keep full precision instead."""

from __future__ import annotations

from datetime import UTC, datetime

from moebench.board.model import Estimate, Multiple, TaskResult, Timing
from moebench.text import one_line

MISSING = "-"
UNBOUNDED = "?"
NAMELESS = "(no name)"
UNITS = ("", "k", "M", "G", "T", "P")


def shown_name(name: str, length: int = 0) -> str:
    """A name as a person can point at it, also where it is empty; cut in the middle if it is longer than ``length``."""
    text = one_line(name) or NAMELESS
    if not length or len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[head + 1 - length :]}"


def fixed(value: float | None, places: int = 3, *, sign: bool = False) -> str:
    """With so many decimals; a number that rounds to zero has no sign."""
    if value is None:
        return MISSING
    text = f"{value:+.{places}f}" if sign else f"{value:.{places}f}"
    return text.lstrip("+-") if float(text) == 0 else text


def with_interval(measure: Estimate | None, places: int = 3, *, sign: bool = False) -> str:
    """``0.972 ±0.007``; ``0.972 ±?`` where the runs set no bounds. t intervals are symmetric around their value."""
    if measure is None:
        return MISSING
    return f"{fixed(measure.value, places, sign=sign)} ±{half(measure, places)}"


def half(measure: Estimate, places: int = 3) -> str:
    """Half the width of an interval; ``?`` where there is none."""
    if measure.low is None or measure.high is None:
        return UNBOUNDED
    return f"{(measure.high - measure.low) / 2:.{places}f}"


def on_task(result: TaskResult) -> str:
    """A row's score on a task, or what became of it."""
    return with_interval(result.score) if result.score else result.status


def p_value(value: float | None) -> str:
    """Three decimals; a smaller one is below 0.001."""
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def bounds(measure: Estimate | None, places: int = 3) -> str:
    """``0.965 to 0.979``, or nothing where there is no interval."""
    if measure is None or measure.low is None or measure.high is None:
        return ""
    return f"{fixed(measure.low, places)} to {fixed(measure.high, places)}"


def short(amount: float | None) -> str:
    """Three digits and a unit: 264000 is ``264k``."""
    if amount is None:
        return MISSING
    value, unit = float(amount), 0
    while abs(value) >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g}{UNITS[unit]}"


def milliseconds(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f} ms" if value >= 999.5 else f"{value:.3g} ms"


def multiple(found: Multiple | None) -> str:
    """``0.62x (0.55 to 0.70)``; ``> 1.9x`` outside the dense ladder; a bound outside it is ``?``."""
    if found is None:
        return MISSING
    if found.value is None:
        return f"{found.bound} {found.limit:.2f}x" if found.bound and found.limit is not None else MISSING
    if found.low is None and found.high is None:
        return f"{found.value:.2f}x"
    return f"{found.value:.2f}x ({multiple_bounds(found)})"


def multiple_bounds(found: Multiple) -> str:
    """``0.55 to 0.70``, or nothing."""
    if found.low is None and found.high is None:
        return ""
    return " to ".join(UNBOUNDED if end is None else f"{end:.2f}" for end in (found.low, found.high))


def latency(timing: Timing | None) -> str:
    """``1.31 ms (0.70x)``: milliseconds and their ratio to dense."""
    if timing is None:
        return MISSING
    ratio = timing.ratio_to_dense
    return milliseconds(timing.value) + (f" ({ratio.value:.2f}x)" if ratio else "")


def rank(places: tuple[int, int] | None) -> str:
    """``1-2``, or ``3`` where both ends agree."""
    if places is None:
        return MISSING
    low, high = places
    return str(low) if low == high else f"{low}-{high}"


def moment(text: str) -> str:
    """``2026-11-22 03:14 UTC`` of a record's time; what is none is shown as it is."""
    try:
        time = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return one_line(text) or MISSING
    return f"{time:%Y-%m-%d %H:%M} UTC"


def setting(value: object) -> str:
    """Numbers with four digits, other values as they are."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return one_line(str(value))
