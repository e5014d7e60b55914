"""The paper's score and rule against their rivals, on the same models."""

from __future__ import annotations

from moebench.studies.claim import Bound, Claim
from moestudies.paper.claims.judges import LEAST, PAPERS, Gain
from moestudies.paper.claims.subsets import ARM, PART

MARGIN = 0.01
"""Accuracies that differ by less are as good as each other."""


def _rival(name: str, words: str, note: str = "") -> Claim:
    return Claim(
        key=f"score-{name.replace('_', '-')}",
        source="extension",
        part=PART,
        statement=f"The paper's score, the sum of combine weights, is as good as {words}.",
        paper="Compares with random subsets only.",
        here=f"Accuracy with k = E/8: the paper's score less its rival, on the same models.{note}",
        rule=f"Holds when for every E >= {LEAST} the interval lies above -{MARGIN:g}.",
        unit="difference",
        judge=Gain(PART, ARM, PAPERS, name, 8, Bound(-MARGIN)),
    )


RIVALS = (
    _rival("combine_max", "the largest combine weight"),
    _rival("combine_norm", "the norm of what each expert adds", " The rival computes every expert: it saves no work."),
    Claim(
        key="score-static",
        source="extension",
        part=PART,
        statement="The choice depends on the input: the same experts for every input do worse.",
        paper="Compares with random subsets only.",
        here="Accuracy with k = E/8: the paper's score less the experts of largest mean mass on validation data.",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        unit="difference",
        judge=Gain(PART, ARM, PAPERS, "static", 8, Bound(0)),
    ),
    Claim(
        key="not-renormalised",
        source="extension",
        part=PART,
        statement="Leaving the combine weights as they are, without renormalising them over the subset, is right.",
        paper="Algorithm 1 does not renormalise; it gives no comparison.",
        here="Accuracy with k = E/8: as they are, less renormalised (which equals a softmax over the subset's logits).",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        unit="difference",
        judge=Gain(PART, ARM, PAPERS, f"{PAPERS} renormalise", 8, Bound(0)),
    ),
)
"""Claims about how a subset is selected and used."""
