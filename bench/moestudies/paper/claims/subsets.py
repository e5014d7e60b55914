"""Claim 2 of the paper: many small experts specialise, and the specialised subset can be found."""

from __future__ import annotations

from moebench.studies.claim import (
    FAILS,
    HOLDS,
    NOT_RUN,
    Bound,
    Claim,
    Estimate,
    Finding,
    Item,
    difference,
    every,
    mean,
    ratio,
)
from moebench.studies.evidence import Evidence, Series
from moestudies.paper.claims.judges import LEAST, PAPERS, Gain, accuracy, means

PART = "paper-specialization"
ARM = "soft_moe"
MANY, FEW = 64, 16
"""Where the paper finds 99 % retained, and where not."""

NO_BETTER = 0.02
"""A subset is no better than a random one when it gains less than so much accuracy."""

WITHIN = 1.01
"""Totals are equal when the largest is no more than so many times the smallest."""

CONDITIONS = ("residual", "LayerNorm", "normalising router", "three slots")
"""Arms of the full form that change one thing about the layer or its host."""


def retained(evidence: Evidence, experts: int, share: int) -> Series:
    """Accuracy with the selected k = E / share experts over that with all, by seed."""
    of = (evidence, PART, ARM)
    return ratio(accuracy(*of, PAPERS, experts, share), accuracy(*of, "all", experts, share))


def _grows(evidence: Evidence) -> Finding:
    there = evidence.experts(PART, "subset", ARM, least=LEAST)
    if len(there) < 2:
        return every([], NOT_RUN)
    few, many = there[0], 2 * MANY if 2 * MANY in there else there[-1]
    a, b = retained(evidence, many, 8), retained(evidence, few, 8)
    return every([Bound(0).judge(f"E = {many} less E = {few}", difference(a, b), means(a, b))], NOT_RUN)


def _retains(evidence: Evidence) -> Finding:
    there = evidence.experts(PART, "subset", ARM, least=MANY)
    return every([Bound(0.99).judge(f"E = {e}", mean(retained(evidence, e, 8))) for e in there], NOT_RUN)


def _retains_not(evidence: Evidence) -> Finding:
    found = mean(retained(evidence, FEW, 8))
    return every([Bound(0.99, "below").judge(f"E = {FEW}", found)] if found else [], NOT_RUN)


def _conditions(evidence: Evidence) -> Finding:
    items = []
    for arm in CONDITIONS:
        for experts in evidence.experts(PART, "subset", arm, least=LEAST):
            a, b = (accuracy(evidence, PART, arm, s, experts, 4) for s in (PAPERS, "random"))
            items.append(Bound(0).judge(arm, difference(a, b), means(a, b)))
    return every(items, "it is a part of the full form, and no run of it is done")


def _budget(evidence: Evidence) -> Finding:
    totals = {e: _total(evidence, e) for e in evidence.experts(PART, "final", ARM)}
    if len(totals) < 2:
        return every([], NOT_RUN)
    return totals_within(totals)


def _total(evidence: Evidence, experts: int) -> int:
    run = next(evidence.find(PART, "final", ARM, experts=experts))
    return int(run.record.counts["total_params"])


def totals_within(totals: dict[int, int]) -> Finding:
    """Whether the largest total is within 1 % of the smallest; no interval, for parameters are counted."""
    low, high = min(totals.values()), max(totals.values())
    verdict = HOLDS if high <= WITHIN * low else FAILS
    note = f"{low:,} to {high:,} parameters, E = {min(totals)} to {max(totals)}"
    item = Item("largest over smallest total", Estimate(high / low), verdict, note=note)
    return Finding(verdict, "", item, (item,))


SUBSETS = (
    Claim(
        key="equal-budget",
        source="paper",
        part=PART,
        statement="The models that are compared have the same number of parameters.",
        paper='"Fixed parameter count"; but 784/E is no integer from E = 32 on, and Phi grows to 100,000 at E = 512.',
        here="Parameters of the expert layer, Phi and biases included, over all E.",
        rule="Holds when the largest total is within 1 % of the smallest.",
        unit="ratio",
        judge=_budget,
    ),
    Claim(
        key="selected-beats-random",
        source="paper",
        part=PART,
        statement="The subset that Algorithm 1 selects beats a random one.",
        paper="Figures for k = E/4 on MNIST, CIFAR-10, CIFAR-100 and ImageNet.",
        here="Accuracy with k = E/4 on Fashion-MNIST, selected less random.",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        unit="difference",
        judge=Gain(PART, ARM, PAPERS, "random", 4, Bound(0)),
    ),
    Claim(
        key="small-e-no-better",
        source="paper",
        part=PART,
        statement="With four experts the selected one is no better than a random one.",
        paper="E = 4, k = 1 on MNIST.",
        here="Accuracy with k = 1 of E = 4 on Fashion-MNIST, selected less random.",
        rule=f"Holds when the interval lies below {NO_BETTER:g}.",
        unit="difference",
        judge=Gain(PART, ARM, PAPERS, "random", 4, Bound(NO_BETTER, "below"), experts=(4,)),
    ),
    Claim(
        key="retained-grows",
        source="paper",
        part=PART,
        statement="What the selected subset retains grows with the number of experts.",
        paper="ImageNet, k = E/8: more is retained at E = 128 than at E = 8.",
        here="Share of the accuracy retained with k = E/8 on Fashion-MNIST: E = 128, or the largest there is, less "
        f"E = {LEAST}, or the smallest above it.",
        rule="Holds when the interval lies above 0.",
        unit="difference",
        judge=_grows,
    ),
    Claim(
        key="retained-99-many",
        source="paper",
        part=PART,
        statement="With many experts 1/8 of them retain 99 % of the accuracy.",
        paper=f"ImageNet, E >= {MANY}.",
        here="Share of the accuracy retained with k = E/8 on Fashion-MNIST, another task and a far smaller model.",
        rule=f"Holds when for every E >= {MANY} the interval lies above 0.99.",
        unit="share",
        judge=_retains,
    ),
    Claim(
        key="retained-99-few",
        source="paper",
        part=PART,
        statement="With few experts 1/8 of them retain less.",
        paper=f"ImageNet, E = {FEW}.",
        here="Share of the accuracy retained with k = E/8 on Fashion-MNIST.",
        rule=f"Holds when at E = {FEW} the interval lies below 0.99.",
        unit="share",
        judge=_retains_not,
    ),
    Claim(
        key="conditions",
        source="extension",
        part=PART,
        statement="The selected subset beats a random one under other conditions as well.",
        paper="Removes the residual; varies none of these.",
        here="Accuracy with k = E/4 at E = 64 on Fashion-MNIST, selected less random, one change at a time: a "
        "residual, a LayerNorm, the normalising router, three slots.",
        rule="Holds when for each of them the interval lies above 0.",
        unit="difference",
        judge=_conditions,
    ),
)
"""Claims of part ``paper-specialization``: the budget, and what the selected subset keeps."""
