"""The score of a trained model with some of its experts: rival scores, rules and shares, on test data."""

from __future__ import annotations

from collections.abc import Mapping

from moebench.errors import UsageError
from moebench.hosts.host import rules_of
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.measures.subset.infer import ALL, Subset, experts_of, fit_static, mean_score, subset_of
from moebench.measures.subset.scores import PAPERS, RANDOM_DRAWS, SCORES
from moebench.measures.subset.select import nothing

SHARES = (2, 4, 8)
"""k = E/2, E/4, E/8: where rivals of the paper's score and of its rule are compared."""


def subset(subject: Subject) -> Scores:
    """The task's headline on test data by name: ``all``, ``none``, ``<score> k=<k>`` for the paper's score and random
    subsets at every power of two, for the other scores at E/2, E/4 and E/8, and ``combine_sum <rule> k=<k>`` there for
    the layers' rules.

    At those shares the random subsets are ten draws for each input, elsewhere one. What the run was scored with is
    taken from its record.
    """
    model, test, precision = subject.model, subject.data("test"), subject.precision
    experts = experts_of(model)
    fitted = fit_static(model, subject.data("validation"), precision=precision)
    scores = Scores(values=_known(subject.scores, experts))

    def put(name: str, *subsets: Subset) -> None:
        if name not in scores.values:
            scores.put(name, mean_score(subsets, model, subject.task, test, precision=precision))

    put("all", ALL)
    put("none", Subset(nothing))
    rivals = [experts // share for share in SHARES if experts % share == 0]
    for k in (2**n for n in range((experts - 1).bit_length())):
        draws = RANDOM_DRAWS if k in rivals else 1
        put(f"{PAPERS} k={k}", subset_of(model, k))
        put(f"random k={k}", *(subset_of(model, k, score="random", seed=seed) for seed in range(draws)))
    for k in rivals:
        for score in SCORES:
            if score not in (PAPERS, "random"):
                try:
                    put(f"{score} k={k}", subset_of(model, k, score=score, fitted=fitted))
                except UsageError as error:
                    scores.put(f"{score} k={k}", None, str(error))
        for rule in rules_of(model.layers()[0]):
            put(f"{PAPERS} {rule} k={k}", subset_of(model, k, rule=rule))
    return scores


def _known(scored: Mapping[str, float | None], experts: int) -> dict[str, float | None]:
    """The scores that specialization was made of, under the names that they have here."""
    names = {"all": "accuracy_all_experts", "none": "accuracy_no_experts"}
    for share in SHARES:
        if experts % share == 0:
            k = experts // share
            names[f"{PAPERS} k={k}"] = f"accuracy_selected_1_{share}"
            names[f"static k={k}"] = f"accuracy_static_1_{share}"
            names[f"random k={k}"] = f"accuracy_random_1_{share}"
    return {name: scored[other] for name, other in names.items() if scored.get(other) is not None}
