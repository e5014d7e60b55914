"""What is measured of trained models: each function takes a subject and gives the scores of a derived record."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moebench.derived.compressed import compressed, compressed_cost
from moebench.derived.cost import cost
from moebench.derived.fixed import fixed_expert
from moebench.derived.generalization import generalization
from moebench.derived.oracle import best_subset
from moebench.derived.subject import Subject
from moebench.derived.subset import subset
from moebench.scores.final import Scores
from moestudies.gaps import gaps

__all__ = ["MEASURES", "Subject"]

MEASURES: Mapping[str, Callable[..., Scores]] = {
    "subset": subset,
    "oracle": best_subset,
    "cost": cost,
    "gaps": gaps,
    "fixed": fixed_expert,
    "generalization": generalization,
    "compressed": compressed,
    "compressed_cost": compressed_cost,
}
