"""The exhaustive search with the label known, beside its null."""

from __future__ import annotations

from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.measures.subset.infer import experts_of, subset_of
from moebench.measures.subset.oracle import oracle

SHARE = 4
"""The paper searches all subsets of E/4 experts."""


def best_subset(subject: Subject, *, most_experts: int, inputs: int) -> Scores:
    """At k = E/4, on the first so many test inputs: what the best subset gets right, the same search for shuffled
    labels, and, on the same inputs, all experts, the paper's score and a random subset.
    """
    experts, whole, scores = experts_of(subject.model), subject.data("test"), Scores()
    names = ("oracle", "oracle_null", "all", "selected", "random")
    if experts > most_experts or experts < SHARE:
        for name in names:
            scores.put(name, None, f"{experts} experts; the search is made for {SHARE} to {most_experts}")
        return scores
    k, precision = experts // SHARE, subject.precision
    data = whole[:inputs]
    found = oracle(subject.model, subject.task, data, k, precision=precision)
    subsets = {"all": subset_of(subject.model, experts), "selected": subset_of(subject.model, k)}
    subsets["random"] = subset_of(subject.model, k, score="random")
    scores.put("oracle", found.share)
    scores.put("oracle_null", found.null)
    for name, chosen in subsets.items():
        scores.put(name, chosen.score(subject.model, subject.task, data, precision=precision))
    return scores
