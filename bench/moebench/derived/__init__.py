"""What a sweep measures of trained models: each function takes a subject and gives the scores of a derived record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moebench.derived.compressed import compressed, compressed_cost
from moebench.derived.cost import cost
from moebench.derived.fixed import fixed_expert
from moebench.derived.generalization import generalization
from moebench.derived.oracle import best_subset
from moebench.derived.subject import Subject
from moebench.derived.subset import subset
from moebench.plugins.compressors import compressor_identity
from moebench.scores.final import Scores
from moestudies.gaps import gaps

__all__ = ["MEASURES", "Subject", "rests_on"]

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


def rests_on(takes: Mapping[str, Any]) -> dict[str, str]:
    """The code beside the harness and the variant that a measure's numbers depend on: method -> revision or digest."""
    methods = [takes["method"]] if "method" in takes else takes.get("methods", [])
    return {name: compressor_identity(name) for name in methods}
