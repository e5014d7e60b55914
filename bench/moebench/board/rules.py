"""The rules of the board in words, printed with it, and the numbers in them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from moebench.text import counted_noun

LEVEL = 0.95
"""Coverage of every interval."""

ALPHA = 1 - LEVEL
"""Adjusted p-value below which one row is significantly better than another."""

BUDGET_TOLERANCE = 0.01
"""A row further from its budget than this share is not ranked."""

NULL = "random_detached"
"""The variant of the router that learns nothing, and that nothing below it steers."""

PUBLISHED_SEEDS = 8
"""Seeds of the suites that are made to be published: with fewer, a board advises more."""

AXIS_WORDS: Mapping[str, str] = MappingProxyType(
    {"total": "parameters", "active": "active parameters", "flops": "FLOPs per input"}
)
"""What a budget counts, over all expert layers, by axis."""

RANK_RULE = (
    "Rank is by the score alone: the mean over tasks of the test score of models trained on fresh seeds. Every two "
    "rows are compared by Welch's t test over seeds, adjusted by Holm's rule over all pairs. The first number of a "
    "rank is 1 + how many rows are significantly better, the second is the number of ranked rows less those "
    "significantly worse. Rows whose ranks do not overlap differ significantly; some whose ranks overlap do, too. "
    "Each budget has its own adjustment. The interval of a difference from dense has none, so it may exclude 0 for a "
    "row that does not differ significantly from dense."
)


def seeds_note(seeds: int) -> str:
    """What the number of seeds means for a reader."""
    note = f"{counted_noun(seeds, 'seed')}: rows whose ranks do not overlap differ significantly"
    return f"{note}; `--seeds {PUBLISHED_SEEDS}` finds more differences." if seeds < PUBLISHED_SEEDS else f"{note}."
