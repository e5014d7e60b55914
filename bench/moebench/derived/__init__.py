"""What a sweep measures of trained models: each function takes a subject and gives the scores of a derived record."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moebench.derived.cost import cost
from moebench.derived.fixed import fixed_expert
from moebench.derived.gaps import gaps
from moebench.derived.generalization import generalization
from moebench.derived.oracle import best_subset
from moebench.derived.subject import Subject
from moebench.derived.subset import subset
from moebench.scores.final import Scores

__all__ = ["MEASURES", "Subject"]

MEASURES: Mapping[str, Callable[..., Scores]] = {
    "subset": subset,
    "oracle": best_subset,
    "cost": cost,
    "gaps": gaps,
    "fixed": fixed_expert,
    "generalization": generalization,
}
