"""Claim 1 of the paper: one expert cannot represent the norm of its input, several can; on average, and in the worst
case (Theorem 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from moebench.studies.claim import (
    FAILS,
    HOLDS,
    OPEN,
    Bound,
    Claim,
    Finding,
    Item,
    SeededEstimate,
    compare,
    every,
    mean,
    ratio,
)
from moebench.studies.evidence import Evidence, Run, Series

PART = "paper-norm"
EXPERTS = (1, 2, 5, 10)
WIDTHS = {2: "5x2", 5: "2x5"}
"""D -> the row that cuts ten numbers into tokens of that width."""

READ_OFF = {2: (27.5, 8.7, 1.85, 0.91), 5: (11.6, 5.1, 1.6, 0.93)}
"""D -> final MSE read off the paper's figure, by :data:`EXPERTS`."""

BEATS = 0.9
"""An answer beats the constant when it leaves less than so much of the constant's error."""

_claim = partial(Claim, part=PART)


def error(evidence: Evidence, row: str, experts: int) -> Series:
    """Test MSE by seed."""
    return evidence.values(PART, "final", row, "test_mse", experts=experts)


def against_constant(evidence: Evidence, row: str) -> Series:
    """The error of one expert as a share of a constant answer's, by seed."""
    constant = evidence.values(PART, "final", row, "test_constant_mse", experts=1)
    return ratio(error(evidence, row, 1), constant)


def _beside_constant(width: int, *, biases: bool) -> Claim:
    row, side = WIDTHS[width] + (" biases" if biases else ""), "below" if biases else "above"
    bound = Bound(BEATS, "below" if biases else "above")

    def judge(evidence: Evidence) -> Finding:
        found = mean(against_constant(evidence, row))
        return every([bound.judge("E = 1", found)] if found else [])

    return _claim(
        key=f"norm-one-expert-D{width}{'-biases' if biases else ''}",
        source="extension" if biases else "paper",
        statement=f"With biases one expert does better than a constant answer (D = {width}): the impossibility is not "
        "what the experiment shows."
        if biases
        else f"One expert is no better than a constant answer (D = {width}).",
        paper="Shows experts without biases only."
        if biases
        else f"Error about {READ_OFF[width][0]:g} against 12.17 of the constant.",
        here=f"Test error of E = 1 over the constant's, D = {width}, experts {'with' if biases else 'without'} biases.",
        rule=f"Holds when the interval of the ratio lies {side} {BEATS:g}.",
        unit="ratio",
        judge=judge,
    )


def _falls(width: int, *, biases: bool) -> Claim:
    row = WIDTHS[width] + (" biases" if biases else "")
    numbers, also = ", ".join(f"{value:g}" for value in READ_OFF[width]), ", with biases too" if biases else ""

    def judge(evidence: Evidence) -> Finding:
        errors = {experts: error(evidence, row, experts) for experts in EXPERTS}
        pairs = [(f"E = {few} less E = {many}", errors[few], errors[many]) for few, many in pairwise(EXPERTS)]
        return compare(pairs if any(errors.values()) else [], Bound(0), form="{:.3g}")

    return _claim(
        key=f"norm-falls-D{width}{'-biases' if biases else ''}",
        source="extension" if biases else "paper",
        statement=f"The average error falls with the number of experts{also} (D = {width}).",
        paper="Shows experts without biases only."
        if biases
        else f"About {numbers} at E = 1, 2, 5, 10, read off its figure.",
        here=f"Differences of test error between neighbouring E, D = {width}, experts {'with' if biases else 'without'}"
        " biases; equal expert parameters.",
        rule="Holds when the interval of every difference lies above 0.",
        unit="MSE",
        judge=judge,
    )


NORM = (
    *(_beside_constant(width, biases=False) for width in WIDTHS),
    *(_falls(width, biases=False) for width in WIDTHS),
    *(_beside_constant(width, biases=True) for width in WIDTHS),
    *(_falls(width, biases=True) for width in WIDTHS),
)
"""Claims of part ``paper-norm`` about the average error."""

UNTRAINED = ("untrained 5x2", "untrained 2x5")
RESIDUAL = ("5x2 residual", "untrained 5x2 residual")
TRAINED = ("5x2", "2x5", "5x2 biases", "2x5 biases", "5x2 two slots", "5x2 many experts", "5x2 normalising router")

ANSWERS, VECTORS = "beyond_limit_at_largest", "vectors_beyond_limit_at_largest"
"""Of the host's fixed sum; of what it sums, which any other g would see."""

Group = tuple[str, Sequence[Run]]


def _groups(evidence: Evidence, rows: dict[str, Sequence[str]], *, one: bool) -> list[Group]:
    """(name, its runs of one expert, or of several)."""
    return [
        (name, [r for row in of for r in evidence.find(PART, "gaps", row) if (r.setting("experts") == 1) == one])
        for name, of in rows.items()
    ]


def _all_or_none(groups: Sequence[Group], *, beyond_holds: bool, score: str = ANSWERS) -> Finding:
    """Holds when every layer is on the claimed side of the limit at the largest inputs, fails when none is."""
    layers = [run for _, runs in groups for run in runs]
    if not layers:
        return every([])
    whole = _count("beyond the limit", layers, score, beyond_holds=beyond_holds)
    reason = "some layers are beyond the limit and some are not" if whole.verdict == OPEN else ""
    items = tuple(_count(name, runs, score, beyond_holds=beyond_holds) for name, runs in groups if runs)
    return Finding(whole.verdict, reason, replace(whole, reason=reason), items)


def _count(what: str, runs: Sequence[Run], score: str, *, beyond_holds: bool) -> Item:
    beyond = sum(run.record.scores.get(score) == 1 for run in runs)
    verdict = OPEN if 0 < beyond < len(runs) else HOLDS if bool(beyond) == beyond_holds else FAILS
    note = f"{beyond} of {len(runs)} layers{_from(runs) if score == ANSWERS else ''}"
    return Item(what, SeededEstimate(beyond / len(runs)), verdict, note=note)


def _from(runs: Sequence[Run]) -> str:
    """The sizes of the inputs from which on layers are beyond the limit, where they are."""
    found = [run.record.scores.get("beyond_limit_from_scale") for run in runs]
    scales = sorted(scale for scale in found if scale is not None)
    if not scales:
        return ""
    ends = dict.fromkeys(f"{scale:,.{0 if scale >= 10 else 1}f}" for scale in (scales[0], scales[-1]))
    return f", from a size of {' to '.join(ends)} on"


WORST: dict[str, Sequence[str]] = {"trained": TRAINED, "initial weights": UNTRAINED}
LIMIT = "|t(A) - t(B)| less |y(A) - y(B)| is more than max{1, t(A)/20} + max{1, t(B)/20}"
PAIRS = "Pairs of inputs A, B of size 10,000, made for each layer so that its outputs for both are nearly equal"
CONDITIONS = (
    "The slots mix raw tokens, and the router adds no noise. Sizes from 0.1 to 10,000 are tried: from the size that is "
    "printed on, every larger one is beyond the limit."
)

WORST_CASE = (
    _claim(
        key="norm-theorem-one-expert",
        statement="In the worst case one expert cannot represent the norm (Theorem 1).",
        paper="Proved for E = 1 and the plain router.",
        here=f"{PAIRS}: every layer of one expert, trained and untrained, both routers, one and two slots. "
        f"{CONDITIONS}",
        rule=f"Holds when for every layer {LIMIT}; does not hold when for none.",
        unit="count",
        judge=lambda evidence: _all_or_none(_groups(evidence, WORST, one=True), beyond_holds=True),
    ),
    _claim(
        key="norm-any-number",
        source="extension",
        statement="In the worst case no number of experts can represent the norm; so this cannot be why several are "
        "necessary.",
        paper="Proves it for one expert and concludes that several are necessary; it has no theorem for E > 1. The "
        "proof here is for every E, P, T >= 2 and Phi.",
        here=f"{PAIRS}: every layer of several experts, E up to 64, trained and untrained, both routers. {CONDITIONS}",
        rule=f"Holds when for every layer {LIMIT}; does not hold when for none.",
        unit="count",
        judge=lambda evidence: _all_or_none(_groups(evidence, WORST, one=False), beyond_holds=True),
    ),
    _claim(
        key="norm-residual",
        statement="With a residual connection around the layer the theorem does not apply.",
        paper="Said of E = 1: what follows the layer sees the input itself.",
        here=f"{PAIRS}: the same layers with a residual, y the vectors that g sees, x + y. (Their fixed sum may still "
        "be the same: pairs of equal sum exist.)",
        rule=f"Holds when for no layer {LIMIT}; does not hold when for every one.",
        unit="count",
        judge=lambda evidence: _all_or_none(
            [
                (name, list(evidence.find(PART, "gaps", row)))
                for name, row in zip(("trained", "initial weights"), RESIDUAL, strict=True)
            ],
            beyond_holds=False,
            score=VECTORS,
        ),
    ),
)
"""Claims of part ``paper-norm`` that one counterexample decides, whatever the seeds."""
