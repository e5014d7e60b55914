"""The claims of arXiv 2204.10598 about constraints, and what this project asks beside them."""

from __future__ import annotations

from functools import partial

from moebench.studies.claim import Claim
from moestudies.cnn.rows import (
    ACCURACY,
    EVENNESS,
    FIXED,
    HARD,
    INFORMATION,
    LOST,
    PART,
    PLAIN,
    PLAIN_ACTIVE,
    SEEDS,
    SOFT,
    more,
)

RULE = (
    "Holds when every interval lies above 0, for blocks and convolutions{}; does not hold when one lies below 0; else "
    f"it is undecided. At least {SEEDS} training seeds."
)
EACH_SOFT = RULE.format(" and for both soft constraints")
EACH = RULE.format("")
_claim = partial(Claim, part=PART, rule=EACH_SOFT)
_extension = partial(_claim, source="extension")

CLAIMS: tuple[Claim, ...] = (
    _claim(
        key="soft-specialised",
        statement="Under soft constraints experts are more specialised than under the hard one.",
        paper="Soft constraints support the expert specialization process; heat maps of classes and experts.",
        here="Information about the class in the chosen expert, I(class; expert) / H(class) less chance, on CIFAR-10: "
        "soft less hard.",
        judge=more(INFORMATION, SOFT, [HARD]),
    ),
    _claim(
        key="hard-general",
        statement="Under the hard constraint experts stay more general: one alone answers better for all images.",
        paper="Hard constraints maintain more generalized experts; accuracy with one fixed expert.",
        here="Accuracy with one expert for every image, mean over the experts: hard less soft.",
        judge=more(FIXED, [HARD], SOFT),
    ),
    _claim(
        key="hard-accurate",
        statement="The hard constraint makes the model more accurate than soft ones.",
        paper="Hard constraints increase overall model performance.",
        here="Test accuracy on CIFAR-10: hard less soft.",
        judge=more(ACCURACY, [HARD], SOFT),
    ),
    _claim(
        key="soft-even",
        statement="Soft constraints use the experts more evenly than the hard one.",
        paper="Soft constraints handle expert utilization better.",
        here="Entropy of the experts' shares of all choices on test images over that of even shares: soft less hard.",
        judge=more(EVENNESS, SOFT, [HARD]),
    ),
    _claim(
        key="constraint-needed",
        statement="Without a constraint the use of the experts is less even than with any.",
        paper="Constraints are there to stabilise training, in which a few experts would take all.",
        here="The same entropy: each constraint less none.",
        rule=RULE.format(" and for every constraint"),
        judge=more(EVENNESS, [*SOFT, HARD], ["none"]),
    ),
    _extension(
        key="soft-experts-needed",
        statement="Giving up the choice costs more under soft constraints than under the hard one.",
        paper="Does not set it against the accuracy with all experts.",
        here="Accuracy of the whole model less that with one fixed expert, mean over the experts: soft less hard.",
        judge=more(LOST, SOFT, [HARD]),
    ),
    _extension(
        key="hard-beats-none",
        statement="The hard constraint makes the model more accurate than no constraint.",
        paper="Compares with the network without experts.",
        here="Test accuracy: hard less none.",
        rule=EACH,
        judge=more(ACCURACY, [HARD], ["none"]),
    ),
    _claim(
        key="beats-same-work",
        statement="Experts under the hard constraint beat the plain network of the same work.",
        paper="The network without experts is its baseline.",
        here="Test accuracy: hard less the plain layer that does as many FLOPs for an image.",
        rule=EACH,
        judge=more(ACCURACY, [HARD], [PLAIN_ACTIVE]),
    ),
    _extension(
        key="beats-same-parameters",
        statement="They beat the plain network of the same parameters, which does more work.",
        paper="Not compared.",
        here="Test accuracy: hard less the plain layer of the same budget.",
        rule=EACH,
        judge=more(ACCURACY, [HARD], [PLAIN]),
    ),
)
"""All of them, in the order of the report."""
