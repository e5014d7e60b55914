"""What is measured of trained models: each function takes a subject and gives the scores of a derived record."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moebench.measures.compressed import compressed, compressed_cost
from moebench.measures.cost import cost
from moebench.measures.fixed import fixed_expert
from moebench.measures.generalization import generalization
from moebench.measures.oracle import best_subset
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.measures.subset_scores import subset
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
