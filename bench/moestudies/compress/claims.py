"""The claims of arXiv 2310.01334 and of its rival, arXiv 2510.13999, and what this project asks beside them."""

from __future__ import annotations

from moebench.studies.claim import NOT_RUN, Bound, Claim, Finding, Item, every, mean, ratio
from moebench.studies.evidence import Evidence, Series
from moestudies.compress.arms import (
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
    More,
    above,
    milliseconds,
    saved,
    small,
    whole,
)

HALF = EXPERTS // 2

NEXT_TO_NOTHING = 0.01
"""One percentage point: so much accuracy may be lost where a paper says none, or almost none."""

MEMORY, WORK = 0.8, 0.2
"""Shares of memory and FLOPs that MC-SMoE says it saves, at best. Here the memory is that of the expert layers."""

RULE = (
    f"Holds when the interval lies above 0 with {{}} of {EXPERTS} experts a layer; does not hold when one lies below "
    f"0; else it is undecided. At least {SEEDS} training seeds."
)
EVERY_KEEP = RULE.format(f"{', '.join(map(str, KEEPS[:-1]))} and {KEEPS[-1]}")


def lost(evidence: Evidence) -> Finding:
    """Merging to half loses next to nothing."""
    return every([_loses_little(evidence, MERGE.of(evidence, HALF, "after"))], NOT_RUN)


def smaller_for_nothing(evidence: Evidence) -> Finding:
    """Merging to half and compressing saves what the paper says, and loses next to nothing."""
    memory = saved(evidence, FACTORED, HALF, "layers_params")
    work = saved(evidence, FACTORED, HALF, "model_flops")
    items = [
        _saves("saved parameters of the expert layers", memory, MEMORY),
        _saves("saved FLOPs of the model", work, WORK),
        _loses_little(evidence, FACTORED.of(evidence, HALF, "after")),
    ]
    return every(items, NOT_RUN)


def beats_small(evidence: Evidence) -> Finding:
    """Merged models answer better than those trained small."""
    pairs = [(k, MERGE.of(evidence, k, "after"), small(evidence, k)) for k in TRAINED_SMALL]
    return every([above(f"{k} of {EXPERTS} experts", merged, trained) for k, merged, trained in pairs], NOT_RUN)


def lower_rank(evidence: Evidence) -> Finding:
    """The stable rank falls by merging."""
    items = []
    for k in KEEPS:
        before, after = ALL.of(evidence, EXPERTS, "stable_rank"), MERGE.of(evidence, k, "stable_rank")
        gone = {seed: 1 - value for seed, value in ratio(after, before).items()}
        items.append(_saves(f"{k} of {EXPERTS} experts", gone, 0))
    return every(items, NOT_RUN)


def faster(evidence: Evidence) -> Finding:
    """Merged and compressed to half, the model takes less time."""
    times = ratio(milliseconds(evidence, "whole"), milliseconds(evidence, f"merge_compress {HALF}"))
    return every([Bound(1, least_seeds=SEEDS).judge(f"{HALF} of {EXPERTS} experts", mean(times))], NOT_RUN)


def _loses_little(evidence: Evidence, kept: Series) -> Item:
    return above("accuracy less that of all experts", kept, whole(evidence), -NEXT_TO_NOTHING)


def _saves(what: str, shares: Series, bound: float) -> Item:
    """A share that is the same under every seed has no interval and needs none."""
    found = mean(shares)
    if found and found.low is None and len(shares) >= SEEDS:
        found = type(found)(found.value, found.value, found.value, seeds=found.seeds)
    return Bound(bound, least_seeds=SEEDS).judge(what, found)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        key="merge-over-usage",
        source="paper",
        part=PART,
        statement="Merging keeps more than leaving out the experts that are used least.",
        paper="MC-SMoE: merged models answer better than pruned ones of the same size.",
        here="Test accuracy after equal steps of recovery: merge less prune_usage.",
        rule=EVERY_KEEP,
        unit="difference",
        judge=More(MERGE, USAGE, "after"),
    ),
    Claim(
        key="merge-for-nothing",
        source="paper",
        part=PART,
        statement="Half of the experts can be merged away at almost no loss.",
        paper="MC-SMoE: almost no loss in performance.",
        here="Test accuracy after recovery, merged to half less the model with all experts that was taught for as many "
        "steps.",
        rule=f"Holds when the interval lies above -{NEXT_TO_NOTHING:g}, does not hold when it lies below; at least "
        f"{SEEDS} training seeds.",
        unit="difference",
        judge=lost,
    ),
    Claim(
        key="compress-for-nothing",
        source="paper",
        part=PART,
        statement="Merged to half and compressed, the expert layers lose 80 % of their memory and the model 20 % of "
        "its FLOPs, at almost no loss.",
        paper="MC-SMoE: up to 80 % memory and 20 % FLOPs.",
        here="Parameters of the expert layers (that it is their memory which counts is our choice), FLOPs of the model "
        "at the routing that comes, and accuracy after recovery as above; low rank 8 of 64, and a tenth of the hidden "
        "units.",
        rule=f"Holds when the intervals lie above {MEMORY:g}, {WORK:g} and -{NEXT_TO_NOTHING:g}; does not hold when "
        f"one lies below; at least {SEEDS} training seeds.",
        unit="share",
        judge=smaller_for_nothing,
    ),
    Claim(
        key="lower-rank",
        source="paper",
        part=PART,
        statement="Merging lowers the rank of the experts' weights.",
        paper="MC-SMoE: merging promotes low dimensionality, which makes further compression cheap.",
        here="Stable rank of the merged experts' weights after recovery: share by which it is below that of all "
        "experts, taught for as many steps.",
        rule=EVERY_KEEP,
        unit="share",
        judge=lower_rank,
    ),
    Claim(
        key="reap-over-merge",
        source="paper",
        part=PART,
        statement="Without recovery, pruning by saliency keeps more than merging.",
        paper="REAP: pruning prevails for one-shot compression, said of models that write text.",
        here="Test accuracy at once: prune_reap less merge.",
        rule=EVERY_KEEP,
        unit="difference",
        judge=More(REAP, MERGE, "unrecovered"),
    ),
    Claim(
        key="reap-over-usage",
        source="paper",
        part=PART,
        statement="Without recovery, pruning by saliency keeps more than pruning by usage.",
        paper="REAP: router weight times activation norm is the better criterion.",
        here="Test accuracy at once: prune_reap less prune_usage.",
        rule=EVERY_KEEP,
        unit="difference",
        judge=More(REAP, USAGE, "unrecovered"),
    ),
    Claim(
        key="usage-over-random",
        source="paper",
        part=PART,
        statement="Without recovery, pruning by usage keeps more than pruning at random.",
        paper="Both papers take usage to say which experts matter.",
        here="Test accuracy at once: prune_usage less prune_random.",
        rule=EVERY_KEEP,
        unit="difference",
        judge=More(USAGE, RANDOM, "unrecovered"),
    ),
    Claim(
        key="aligned",
        source="paper",
        part=PART,
        statement="Experts have to be aligned before they are merged.",
        paper="MC-SMoE aligns the hidden units by weight matching.",
        here="Test accuracy at once: merge less merge without alignment.",
        rule=EVERY_KEEP,
        unit="difference",
        judge=More(MERGE, UNALIGNED, "unrecovered"),
    ),
    Claim(
        key="choice-after-recovery",
        source="extension",
        part=PART,
        statement="After recovery it still matters how the model was made smaller.",
        paper="MC-SMoE recovers all its rivals and finds differences.",
        here="Test accuracy after recovery: merge less prune_random.",
        rule=EVERY_KEEP,
        unit="difference",
        judge=More(MERGE, RANDOM, "after"),
    ),
    Claim(
        key="beats-small",
        source="extension",
        part=PART,
        statement="Training large and merging beats training small.",
        paper="Neither compares with it.",
        here="Test accuracy after recovery, less that of a model trained with so many experts and parameters for as "
        "many steps in all.",
        rule=RULE.format(" and ".join(map(str, TRAINED_SMALL))),
        unit="difference",
        judge=beats_small,
    ),
    Claim(
        key="faster",
        source="extension",
        part=PART,
        statement="Merged to half and compressed, the model is faster.",
        paper="Gives FLOPs, and no time.",
        here="Milliseconds of the whole model at batch 100, taken in turns: before over after.",
        rule=f"Holds when the interval lies above 1, does not when it lies below; at least {SEEDS} training seeds.",
        unit="ratio",
        judge=faster,
    ),
)
"""All of them, in the order of the report."""
