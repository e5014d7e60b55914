"""Claim 1 of the paper: one expert cannot represent the norm of its input, several can."""

from __future__ import annotations

from itertools import pairwise

from moebench.studies.claim import NOT_RUN, Bound, Claim, Finding, difference, every, mean, ratio
from moebench.studies.evidence import Evidence, Series

PART = "paper-norm"
EXPERTS = (1, 2, 5, 10)
WIDTHS = {2: "5x2", 5: "2x5"}
"""D -> the arm that cuts ten numbers into tokens of that width."""

READ_OFF = {2: (27.5, 8.7, 1.85, 0.91), 5: (11.6, 5.1, 1.6, 0.93)}
"""D -> final MSE read off the paper's figure, by :data:`EXPERTS`."""

BEATS = 0.9
"""An answer beats the constant when it leaves less than so much of the constant's error."""


def error(evidence: Evidence, arm: str, experts: int) -> Series:
    """Test MSE by seed."""
    return evidence.values(PART, "final", arm, "test_mse", experts=experts)


def against_constant(evidence: Evidence, arm: str) -> Series:
    """The error of one expert as a share of a constant answer's, by seed."""
    constant = evidence.values(PART, "final", arm, "test_constant_mse", experts=1)
    return ratio(error(evidence, arm, 1), constant)


def _beside_constant(width: int, *, biases: bool) -> Claim:
    arm, side = WIDTHS[width] + (" biases" if biases else ""), "below" if biases else "above"
    bound = Bound(BEATS, "below" if biases else "above")

    def judge(evidence: Evidence) -> Finding:
        found = mean(against_constant(evidence, arm))
        return every([bound.judge("E = 1", found)] if found else [], NOT_RUN)

    return Claim(
        key=f"norm-one-expert-D{width}{'-biases' if biases else ''}",
        source="extension" if biases else "paper",
        part=PART,
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
    arm = WIDTHS[width] + (" biases" if biases else "")
    numbers, also = ", ".join(f"{value:g}" for value in READ_OFF[width]), ", with biases too" if biases else ""

    def judge(evidence: Evidence) -> Finding:
        errors = {experts: error(evidence, arm, experts) for experts in EXPERTS}
        if not any(errors.values()):
            return every([], NOT_RUN)
        return every(
            [
                Bound(0).judge(
                    f"E = {few} less E = {many}",
                    difference(errors[few], errors[many]),
                    f"{_mean(errors[few])} and {_mean(errors[many])}",
                )
                for few, many in pairwise(EXPERTS)
            ],
            NOT_RUN,
        )

    return Claim(
        key=f"norm-falls-D{width}{'-biases' if biases else ''}",
        source="extension" if biases else "paper",
        part=PART,
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


def _mean(values: Series) -> str:
    found = mean(values)
    return f"{found.value:.3g}" if found else "not run"


NORM = (
    *(_beside_constant(width, biases=False) for width in WIDTHS),
    *(_falls(width, biases=False) for width in WIDTHS),
    *(_beside_constant(width, biases=True) for width in WIDTHS),
    *(_falls(width, biases=True) for width in WIDTHS),
)
"""Claims of part ``paper-norm`` about the average error."""
