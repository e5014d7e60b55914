"""Several layers, a residual around them, and the other routed layers."""

from __future__ import annotations

from moebench.studies.claim import Bound, Claim, Finding, compare, less
from moebench.studies.evidence import Evidence, Series
from moestudies.paper.claims.elsewhere import elsewhere
from moestudies.paper.claims.subsets import LEAST, accuracy, gain

DEPTH, VARIANTS = "paper-depth", "paper-variants"
PLAIN, RESIDUAL = "no residual", "residual"
ROUTED = {"sparse_topk": "sparse top-k", "random_router": "a frozen router with no layer below that could steer it"}

SMALL_VIT = "CIFAR-10 and a small ViT"


def worth(evidence: Evidence, row: str, experts: int) -> Series:
    """What the experts are worth in their host: accuracy with all less that with none, by seed."""
    return less(*(accuracy(evidence, DEPTH, row, selection, experts, 1) for selection in ("all", "none")))


def _matters_less(evidence: Evidence) -> Finding:
    numbers = evidence.experts(DEPTH, "subset", PLAIN)
    return compare(((f"E = {e}", worth(evidence, PLAIN, e), worth(evidence, RESIDUAL, e)) for e in numbers), Bound(0))


def _variant(name: str, words: str) -> Claim:
    return Claim(
        key=f"variant-{name.replace('_', '-')}",
        source="extension",
        part=VARIANTS,
        statement=f"Specialization is no property of Soft MoE alone: {words} has it too.",
        paper="Asks it of Soft MoE only.",
        here="Accuracy with k = E/8 on Fashion-MNIST: the experts of largest mass for each input less the same experts "
        "for all.",
        rule="Holds when for every E the interval lies above 0.",
        judge=gain("static", 8, Bound(0), part=VARIANTS, row=name),
    )


DEPTH_CLAIMS = (
    Claim(
        key="depth-selected",
        part=DEPTH,
        statement="Without a residual around them, selected subsets work across several layers.",
        paper="Astroformer-1 on CIFAR-10 and CIFAR-100, two layers; ViT on ImageNet, six.",
        here="Accuracy with k = E/4 in each of three layers of a small ViT on CIFAR-10, selected less random.",
        rule=f"Holds when for every E >= {LEAST} the interval lies above 0.",
        judge=elsewhere(
            gain("random", 4, Bound(0), part=DEPTH, row=PLAIN), measured=SMALL_VIT, paper="models of another scale"
        ),
    ),
    Claim(
        key="depth-residual",
        part=DEPTH,
        statement="With the residual around them the experts matter less.",
        paper="Removes it, because training ignored the experts; gives no numbers.",
        here="What all experts add to the accuracy with none: without the residual, less with it.",
        rule="Holds when for every E the interval lies above 0.",
        judge=elsewhere(_matters_less, measured=SMALL_VIT, paper="models of another scale"),
    ),
)
"""Claims of part ``paper-depth``."""

VARIANT_CLAIMS = tuple(_variant(name, words) for name, words in ROUTED.items())
"""Claims of part ``paper-variants``."""
