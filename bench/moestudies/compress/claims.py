"""The claims of arXiv 2310.01334 and of its rival, arXiv 2510.13999, and what this project asks beside them."""

from __future__ import annotations

from functools import partial

from moebench.studies.claim import Bound, Claim, Finding, Item, difference, every, exact, mean, means, ratio
from moebench.studies.evidence import Evidence, Series
from moestudies.compress.rows import (
    ALL,
    EXPERTS,
    FACTORED,
    KEEPS,
    MERGE,
    PART,
    RANDOM,
    REAP,
    SEEDS,
    TRAINED_SMALL,
    UNALIGNED,
    USAGE,
    above_at_each,
    milliseconds,
    more,
    saved,
    small,
    whole,
)

HALF = EXPERTS // 2

NEXT_TO_NOTHING = 0.01
"""One percentage point: so much accuracy may be lost where a paper claims no loss, or almost none."""

MEMORY, WORK = 0.8, 0.2
"""Shares of memory and FLOPs that MC-SMoE claims to save, at best. Here the memory is that of the expert layers."""

RULE = (
    f"Holds when the interval lies above 0 with {{}} of {EXPERTS} experts a layer; does not hold when one lies below "
    f"0; else it is undecided. At least {SEEDS} training seeds."
)
EVERY_KEEP = RULE.format(f"{', '.join(map(str, KEEPS[:-1]))} and {KEEPS[-1]}")
_claim = partial(Claim, part=PART, rule=EVERY_KEEP)
_extension = partial(_claim, source="extension")


def _smaller_for_nothing(evidence: Evidence) -> Finding:
    memory = saved(evidence, FACTORED, HALF, "layers_params")
    work = saved(evidence, FACTORED, HALF, "model_flops")
    items = [
        _saves("saved parameters of the expert layers", memory, MEMORY),
        _saves("saved FLOPs of the model", work, WORK),
        _loses_little(evidence, FACTORED.of(evidence, HALF, "after")),
    ]
    return every(items)


def _lower_rank(evidence: Evidence) -> Finding:
    items = []
    for k in KEEPS:
        before, after = ALL.of(evidence, EXPERTS, "stable_rank"), MERGE.of(evidence, k, "stable_rank")
        gone = {seed: 1 - value for seed, value in ratio(after, before).items()}
        items.append(_saves(f"{k} of {EXPERTS} experts", gone, 0))
    return every(items)


def _faster(evidence: Evidence) -> Finding:
    times = ratio(milliseconds(evidence, "whole"), milliseconds(evidence, f"merge_compress {HALF}"))
    return every([Bound(1, least_seeds=SEEDS).judge(f"{HALF} of {EXPERTS} experts", mean(times))])


def _loses_little(evidence: Evidence, kept: Series) -> Item:
    other = whole(evidence)
    bound = Bound(-NEXT_TO_NOTHING, least_seeds=SEEDS)
    return bound.judge("accuracy less that of all experts", difference(kept, other), means(kept, other))


def _saves(what: str, shares: Series, bound: float) -> Item:
    return Bound(bound, least_seeds=SEEDS).judge(what, exact(mean(shares)))


CLAIMS: tuple[Claim, ...] = (
    _claim(
        key="merge-over-usage",
        statement="Merging keeps more than leaving out the experts that are used least.",
        paper="MC-SMoE: merged models answer better than pruned ones of the same size.",
        here="Test accuracy after equal steps of recovery: merge less prune_usage.",
        judge=more(MERGE, USAGE, "after"),
    ),
    _claim(
        key="merge-for-nothing",
        statement="Half of the experts can be merged away at almost no loss.",
        paper="MC-SMoE: almost no loss in performance.",
        here="Test accuracy after recovery, merged to half less the model with all experts, fine-tuned for as many "
        "steps.",
        rule=f"Holds when the interval lies above -{NEXT_TO_NOTHING:g}, does not hold when it lies below; at least "
        f"{SEEDS} training seeds.",
        judge=lambda evidence: every([_loses_little(evidence, MERGE.of(evidence, HALF, "after"))]),
    ),
    _claim(
        key="compress-for-nothing",
        statement="Merged to half and compressed, the expert layers lose 80 % of their memory and the model 20 % of "
        "its FLOPs, at almost no loss.",
        paper="MC-SMoE: up to 80 % memory and 20 % FLOPs.",
        here="Parameters of the expert layers (that it is their memory which counts is our choice), FLOPs of the model "
        "at the routing that comes, and accuracy after recovery as above; low rank 8 of 64, and a tenth of the hidden "
        "units.",
        rule=f"Holds when the intervals lie above {MEMORY:g}, {WORK:g} and -{NEXT_TO_NOTHING:g}; does not hold when "
        f"one lies below; at least {SEEDS} training seeds.",
        unit="share",
        judge=_smaller_for_nothing,
    ),
    _claim(
        key="lower-rank",
        statement="Merging lowers the rank of the experts' weights.",
        paper="MC-SMoE: merging promotes low dimensionality, which makes further compression cheap.",
        here="Stable rank of the merged experts' weights after recovery: share by which it is below that of all "
        "experts, fine-tuned for as many steps.",
        unit="share",
        judge=_lower_rank,
    ),
    _claim(
        key="reap-over-merge",
        statement="Without recovery, pruning by saliency keeps more than merging.",
        paper="REAP: pruning prevails for one-shot compression, shown on models that write text.",
        here="Test accuracy at once: prune_reap less merge.",
        judge=more(REAP, MERGE, "unrecovered"),
    ),
    _claim(
        key="reap-over-usage",
        statement="Without recovery, pruning by saliency keeps more than pruning by usage.",
        paper="REAP: router weight times activation norm is the better criterion.",
        here="Test accuracy at once: prune_reap less prune_usage.",
        judge=more(REAP, USAGE, "unrecovered"),
    ),
    _claim(
        key="usage-over-random",
        statement="Without recovery, pruning by usage keeps more than pruning at random.",
        paper="Both papers take usage as a measure of which experts matter.",
        here="Test accuracy at once: prune_usage less prune_random.",
        judge=more(USAGE, RANDOM, "unrecovered"),
    ),
    _claim(
        key="aligned",
        statement="Experts have to be aligned before they are merged.",
        paper="MC-SMoE aligns the hidden units by weight matching.",
        here="Test accuracy at once: merge less merge without alignment.",
        judge=more(MERGE, UNALIGNED, "unrecovered"),
    ),
    _extension(
        key="choice-after-recovery",
        statement="After recovery it still matters how the model was made smaller.",
        paper="MC-SMoE recovers all its rivals and finds differences.",
        here="Test accuracy after recovery: merge less prune_random.",
        judge=more(MERGE, RANDOM, "after"),
    ),
    _extension(
        key="beats-small",
        statement="Training large and merging beats training small.",
        paper="Neither compares with it.",
        here="Test accuracy after recovery, less that of a model trained with so many experts and parameters for as "
        "many steps in all.",
        rule=RULE.format(" and ".join(map(str, TRAINED_SMALL))),
        judge=lambda evidence: above_at_each(
            (keep, MERGE.of(evidence, keep, "after"), small(evidence, keep)) for keep in TRAINED_SMALL
        ),
    ),
    _extension(
        key="faster",
        statement="Merged to half and compressed, the model is faster.",
        paper="Gives FLOPs, and no time.",
        here="Milliseconds of the whole model at batch 100, taken in turns: before over after.",
        rule=f"Holds when the interval lies above 1, does not when it lies below; at least {SEEDS} training seeds.",
        unit="ratio",
        judge=_faster,
    ),
)
"""All of them, in the order of the report."""
