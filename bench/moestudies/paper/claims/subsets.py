"""Claim 2 of the paper: many small experts specialise, and the specialised subset can be found."""

from __future__ import annotations

from functools import partial

from moebench.studies.claim import (
    FAILS,
    HOLDS,
    Bound,
    Claim,
    Finding,
    Item,
    SeededEstimate,
    compare,
    every,
    less,
    mean,
    ratio,
)
from moebench.studies.evidence import Evidence, Series
from moestudies.paper.claims.elsewhere import Judge, elsewhere

PART = "paper-specialization"
MNIST = "paper-mnist"
"""The same model on the paper's own data set; a part that is left out where MNIST is not there."""

ROW = "soft_moe"
PAPERS = "combine_sum"
"""The score of Algorithm 1."""

LEAST = 8
"""The fewest experts of which 1/8 is an expert."""

MANY, FEW = 64, 16
"""Where the paper finds 99 % retained, and where not."""

NO_BETTER = 0.02
"""A subset is no better than a random one when it gains less than so much accuracy."""

MARGIN = 0.01
"""Accuracies that differ by less are as good as each other."""

WITHIN = 1.01
"""Totals are equal when the largest is no more than so many times the smallest."""

READ_OFF = {8: 0.40, 16: 0.52, 64: 0.76, 128: 0.81, 512: 0.905}
"""E -> what k = E/8 retains on MNIST, read off the paper's figure."""

CONDITIONS = ("residual", "LayerNorm", "normalising router", "three slots")
"""Rows of the full form that change one thing about the layer or its host."""

_claim = partial(Claim, part=PART)
_extension = partial(_claim, source="extension")


def accuracy(evidence: Evidence, part: str, row: str, selection: str, experts: int, share: int) -> Series:
    """Test accuracy by seed with k = E / share experts. selection: a score, or the paper's score with a rule.

    ``all`` and ``none`` have no k.
    """
    score = selection if selection in ("all", "none") else f"{selection} k={experts // share}"
    return evidence.values(part, "subset", row, score, experts=experts)


def gain(than: str, share: int, bound: Bound, *, part: str = PART, row: str = ROW, only: int | None = None) -> Judge:
    """Judge the accuracy of the paper's score less that of another selection at k = E / share, for every E from
    :data:`LEAST` on, or for one E only.
    """

    def judge(evidence: Evidence) -> Finding:
        there = evidence.experts(part, "subset", row)
        numbers = [experts for experts in there if (experts == only if only else experts >= LEAST)]
        return compare(((f"E = {e}", *_beside(evidence, part, row, than, e, share)) for e in numbers), bound)

    return judge


def _beside(evidence: Evidence, part: str, row: str, than: str, experts: int, share: int) -> tuple[Series, Series]:
    """The accuracy of the paper's score, and that of another selection."""
    one, other = (accuracy(evidence, part, row, selection, experts, share) for selection in (PAPERS, than))
    return one, other


def retained(evidence: Evidence, experts: int, share: int, *, part: str = PART, row: str = ROW) -> Series:
    """Accuracy with the selected k = E / share experts over that with all, by seed."""
    of = (evidence, part, row)
    return ratio(accuracy(*of, PAPERS, experts, share), accuracy(*of, "all", experts, share))


def grows(*, part: str = PART, row: str = ROW) -> Judge:
    """Judge what k = E/8 retains at E = 128, or at the most there are, less that at the fewest."""

    def judge(evidence: Evidence) -> Finding:
        there = evidence.experts(part, "subset", row, least=LEAST)
        if len(there) < 2:
            return every([])
        few, many = there[0], 2 * MANY if 2 * MANY in there else there[-1]
        kept, of_few = (retained(evidence, experts, 8, part=part, row=row) for experts in (many, few))
        return compare([(f"E = {many} less E = {few}", kept, of_few)], Bound(0))

    return judge


def retains(bound: Bound, *, part: str = PART, row: str = ROW, least: int = 1, only: int | None = None) -> Judge:
    """Judge what k = E/8 retains, for every E from ``least`` on, or for one E only."""

    def judge(evidence: Evidence) -> Finding:
        there = [e for e in evidence.experts(part, "subset", row, least=least) if only in (None, e)]
        of = {"part": part, "row": row}
        return every([bound.judge(f"E = {e}", mean(retained(evidence, e, 8, **of))) for e in there])

    return judge


def on_mnist(of_mnist: Judge, of_fashion: Judge, about: str = "MNIST") -> Judge:
    """The verdict on MNIST where there are runs on it; else the numbers on Fashion-MNIST, and no verdict."""
    other = elsewhere(of_fashion, measured="Fashion-MNIST", paper=about)

    def judge(evidence: Evidence) -> Finding:
        found = of_mnist(evidence)
        return other(evidence) if found.decides is None else found

    return judge


def _exceeds(evidence: Evidence) -> Finding:
    """What is retained on MNIST against the paper's number, for every E that it has."""
    there = [e for e in evidence.experts(MNIST, "subset", ROW) if e in READ_OFF]
    items = [
        Bound(READ_OFF[e]).judge(f"E = {e}", mean(retained(evidence, e, 8, part=MNIST)), f"the paper {READ_OFF[e]:.3f}")
        for e in there
    ]
    return every(items)


def _conditions(evidence: Evidence) -> Finding:
    pairs = [
        (row, *_beside(evidence, PART, row, "random", experts, 4))
        for row in CONDITIONS
        for experts in evidence.experts(PART, "subset", row, least=LEAST)
    ]
    return compare(pairs, Bound(0), "it is a part of the full form, and no run of it is done")


def _budget(evidence: Evidence) -> Finding:
    totals = {}
    for experts in evidence.experts(PART, "final", ROW):
        run = next(evidence.find(PART, "final", ROW, experts=experts))
        totals[experts] = int(run.record.counts["total_params"])
    return totals_within(totals) if len(totals) > 1 else every([])


def totals_within(totals: dict[int, int]) -> Finding:
    """Whether the largest total is within 1 % of the smallest; no interval, for parameters are counted."""
    low, high = min(totals.values()), max(totals.values())
    verdict = HOLDS if high <= WITHIN * low else FAILS
    note = f"{low:,} to {high:,} parameters, E = {min(totals)} to {max(totals)}"
    item = Item("largest over smallest total", SeededEstimate(high / low), verdict, note=note)
    return Finding(verdict, "", item, (item,))


def _searched(evidence: Evidence, score: str, part: str = PART) -> dict[int, tuple[Series, Series]]:
    """E -> what the best subset gets right, and another score of the same search."""
    return {
        experts: (best, evidence.values(part, "oracle", ROW, score, experts=experts))
        for experts in evidence.experts(part, "oracle", ROW)
        if (best := evidence.values(part, "oracle", ROW, "oracle", experts=experts))
    }


def _best_above(score: str, part: str = PART) -> Judge:
    """Judge the best subset less another score above 0, for every E that was searched."""
    return lambda evidence: compare(
        ((f"E = {experts}", *pair) for experts, pair in _searched(evidence, score, part).items()), Bound(0)
    )


def _rises(evidence: Evidence) -> Finding:
    """The rise of the best subset from the fewest experts to the most, less that of its null."""
    found = {experts: less(*pair) for experts, pair in _searched(evidence, "oracle_null").items()}
    lifts = {experts: lift for experts, lift in found.items() if lift}
    if len(lifts) < 2:
        return every([])
    few, many = min(lifts), max(lifts)
    return compare([(f"E = {many} less E = {few}", lifts[many], lifts[few])], Bound(0))


WHERE = "MNIST, where it is there, else on Fashion-MNIST"
SMALL = {"measured": "Fashion-MNIST and one layer", "paper": "ImageNet and a ViT-B/16"}

SUBSETS = (
    _claim(
        key="equal-budget",
        statement="The models that are compared have the same number of parameters.",
        paper='"Fixed parameter count"; but 784/E is no integer from E = 32 on, and Phi grows to 100,000 at E = 512.',
        here="Parameters of the expert layer, Phi and biases included, over all E.",
        rule="Holds when the largest total is within 1 % of the smallest.",
        unit="ratio",
        judge=_budget,
    ),
    _claim(
        key="selected-beats-random",
        statement="The subset that Algorithm 1 selects beats a random one.",
        paper="Figures for k = E/4 on MNIST, CIFAR-10, CIFAR-100 and ImageNet.",
        here=f"Accuracy with k = E/4 on {WHERE}, selected less random.",
        rule=f"Holds when for every E >= {LEAST} the interval on MNIST lies above 0.",
        judge=on_mnist(
            gain("random", 4, Bound(0), part=MNIST),
            gain("random", 4, Bound(0)),
            "MNIST, CIFAR-10, CIFAR-100 and ImageNet",
        ),
    ),
    _claim(
        key="small-e-no-better",
        statement="With four experts the selected one is no better than a random one.",
        paper="E = 4, k = 1 on MNIST.",
        here=f"Accuracy with k = 1 of E = 4 on {WHERE}, selected less random.",
        rule=f"Holds when the interval on MNIST lies below {NO_BETTER:g}.",
        judge=on_mnist(
            gain("random", 4, Bound(NO_BETTER, "below"), only=4, part=MNIST),
            gain("random", 4, Bound(NO_BETTER, "below"), only=4),
        ),
    ),
    _claim(
        key="retained-grows",
        statement="What the selected subset retains grows with the number of experts.",
        paper="ImageNet, k = E/8: more is retained at E = 128 than at E = 8.",
        here="Share of the accuracy retained with k = E/8 on Fashion-MNIST: E = 128, or the largest there is, less "
        f"E = {LEAST}, or the smallest above it.",
        rule="Holds when the interval lies above 0.",
        judge=elsewhere(grows(), **SMALL),
    ),
    _claim(
        key="retained-99-many",
        statement="With many experts 1/8 of them retain 99 % of the accuracy.",
        paper=f"ImageNet, E >= {MANY}.",
        here="Share of the accuracy retained with k = E/8 on Fashion-MNIST.",
        rule=f"Holds when for every E >= {MANY} the interval lies above 0.99.",
        unit="share",
        judge=elsewhere(retains(Bound(0.99), least=MANY), **SMALL),
    ),
    _claim(
        key="retained-99-few",
        statement="With few experts 1/8 of them retain less.",
        paper=f"ImageNet, E = {FEW}.",
        here="Share of the accuracy retained with k = E/8 on Fashion-MNIST.",
        rule=f"Holds when at E = {FEW} the interval lies below 0.99.",
        unit="share",
        judge=elsewhere(retains(Bound(0.99, "below"), only=FEW), **SMALL),
    ),
    _extension(
        key="conditions",
        statement="The selected subset beats a random one under other conditions as well.",
        paper="Removes the residual; varies none of these.",
        here="Accuracy with k = E/4 at E = 64 on Fashion-MNIST, selected less random, one change at a time: a "
        "residual, a LayerNorm, the normalising router, three slots.",
        rule="Holds when for each of them the interval lies above 0.",
        judge=_conditions,
    ),
)
"""Claims of part ``paper-specialization``: the budget, and what the selected subset keeps."""

ORACLE = (
    _claim(
        key="oracle-beats-random",
        statement="For each input some quarter of the experts answers far better than a random quarter.",
        paper="MNIST, exhaustive search: 94.69, 99.90, 100.00 % against random 46.57, 51.95, 58.94 % (E = 4, 8, 16).",
        here=f"Best of all subsets of k = E/4 with the label known, less random; 2,000 test inputs of {WHERE}.",
        rule="Holds when for every E that was searched the interval on MNIST lies above 0.",
        judge=on_mnist(_best_above("random", MNIST), _best_above("random")),
    ),
    _extension(
        key="oracle-beats-null",
        statement="The best quarter is right more often than the search alone would make it.",
        paper="Has no null: the best of C(E, E/4) subsets is often right by chance.",
        here="The same search, less the search for shuffled labels.",
        rule="Holds when for every E that was searched the interval lies above 0.",
        judge=_best_above("oracle_null"),
    ),
    _extension(
        key="oracle-rise",
        statement="The best quarter improves with E by more than the search alone does.",
        paper="Reads the rise from 94.69 to 100.00 % as stronger specialization.",
        here="Best subset less its null, at the most experts less at the fewest.",
        rule="Holds when the interval lies above 0.",
        judge=_rises,
    ),
)
"""Claims about the best subset."""


def _rival(name: str, words: str, note: str = "") -> Claim:
    return _extension(
        key=f"score-{name.replace('_', '-')}",
        statement=f"The paper's score, the sum of combine weights, is as good as {words}.",
        paper="Compares with random subsets only.",
        here=f"Accuracy with k = E/8: the paper's score less its rival, on the same models.{note}",
        rule=f"Holds when for every E >= {LEAST} the interval lies above -{MARGIN:g}.",
        judge=gain(name, 8, Bound(-MARGIN)),
    )


RIVALS = (
    _rival("combine_max", "the largest combine weight"),
    _rival("combine_norm", "the norm of what each expert adds", " The rival computes every expert: it saves no work."),
    _extension(
        key="score-static",
        statement="The choice depends on the input: the same experts for every input do worse.",
        paper="Compares with random subsets only.",
        here="Accuracy with k = E/8: the paper's score less the experts of largest mean mass on validation data.",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        judge=gain("static", 8, Bound(0)),
    ),
    _extension(
        key="not-renormalised",
        statement="Leaving the combine weights as they are, without renormalising them over the subset, is right.",
        paper="Algorithm 1 does not renormalise; it gives no comparison.",
        here="Accuracy with k = E/8: as they are, less renormalised (which equals a softmax over the subset's logits).",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        judge=gain(f"{PAPERS} renormalise", 8, Bound(0)),
    ),
)
"""Claims about how a subset is selected and used."""

LIKE_FOR_LIKE = (
    Claim(
        key="retained-mnist",
        source="extension",
        part=MNIST,
        statement="On MNIST 1/8 of the experts retains more here than in the paper.",
        paper=f"About {', '.join(f'{100 * share:g}' for share in READ_OFF.values())} % at E = "
        f"{', '.join(map(str, READ_OFF))}, read off its figure.",
        here="Share of the accuracy retained with k = E/8 on MNIST.",
        rule="Holds when for every E that the paper has the interval lies above its number.",
        unit="share",
        judge=_exceeds,
    ),
)
"""The claim of part ``paper-mnist``; other claims are judged there too, where it has run."""
