"""Controls of the harness: it sees learned routing where there is some to learn, and none where there is not."""

from __future__ import annotations

from collections.abc import Callable

from moebench.studies.claim import Bound, Claim, Finding, Item, difference, every, mean_series, means
from moebench.studies.evidence import Evidence
from moebench.studies.study import Study

SUITE = "controls"
SHOWN, HIDDEN = ("clusters_near", "clusters_far"), "clusters_hidden"

LARGEST = 0.02
"""A difference of accuracies that is none: within it the negative control finds no worth of routing."""


def _above(better: str, worse: str) -> Callable[[Evidence], Finding]:
    """Whether a row is above another in the mean of the tasks that show the cluster."""
    return lambda evidence: every([_item(evidence, Bound(0.0), SHOWN, better, worse)])


def _within(one: str, other: str) -> Callable[[Evidence], Finding]:
    """Whether two rows differ by less than :data:`LARGEST` where the cluster is hidden."""
    bounds = (Bound(-LARGEST, "above"), Bound(LARGEST, "below"))
    return lambda evidence: every([_item(evidence, bound, (HIDDEN,), one, other) for bound in bounds])


def _item(evidence: Evidence, bound: Bound, tasks: tuple[str, ...], one: str, other: str) -> Item:
    a, b = (
        mean_series([evidence.values(SUITE, "final", row, "test_accuracy", task=task) for task in tasks])
        for row in (one, other)
    )
    return bound.judge(f"{one} less {other} on {' and '.join(tasks)}", difference(a, b), means(a, b))


def _claim(key: str, statement: str, here: str, rule: str, judge: Callable[[Evidence], Finding]) -> Claim:
    return Claim(
        key=key,
        source="extension",
        part=SUITE,
        statement=statement,
        paper="-",
        here=here,
        rule=rule,
        unit="difference",
        judge=judge,
    )


ABOVE = "Holds when the interval over seeds lies above 0 in the mean of the two tasks that show the cluster."

REPORT = Study(
    name=SUITE,
    source="a control of this harness",
    question="Each token belongs to one of 16 clusters, and each cluster has labels of its own, so that routing by "
    "cluster is worth something by construction. Does the harness order an oracle, a learned router, a frozen one that "
    "the layers below steer, and a frozen one that nothing steers? Does it find nothing where the cluster is hidden?",
    claims=(
        _claim(
            "oracle-above-learned",
            "An oracle that knows the cluster is better than learned routing.",
            "Test accuracy: oracle less sparse_topk.",
            ABOVE,
            _above("oracle", "sparse_topk"),
        ),
        _claim(
            "learned-above-steered",
            "Learned routing is better than a frozen router that the layers below steer.",
            "Test accuracy: sparse_topk less random_router.",
            ABOVE,
            _above("sparse_topk", "random_router"),
        ),
        _claim(
            "steered-above-detached",
            "A frozen router that the layers below steer is better than one that nothing steers: it is no null.",
            "Test accuracy: random_router less random_detached.",
            ABOVE,
            _above("random_router", "random_detached"),
        ),
        _claim(
            "nothing-where-hidden",
            "Where the cluster is hidden, learned routing is worth nothing.",
            "Test accuracy: sparse_topk less random_detached, with the cluster hidden from the input.",
            f"Holds when the interval over seeds lies within {LARGEST:g} of 0.",
            _within("sparse_topk", "random_detached"),
        ),
    ),
    plots=(),
)
