"""Scores that are made of other scores, made again: the definitions of docs/records.md; and which there must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose, sqrt

from moebench.board.shares import LEAST_DEPENDENCE, LEAST_STANDARD_ERRORS, NO_EXPERTS, NOT_DEPENDENT, SHARES
from moebench.runs import Record

CLOSE = 1e-6
"""Accuracies are means in float32, and what is made of them is not."""

Scores = Mapping[str, float | None]


def definitions(scores: Scores) -> Iterator[str]:
    """A sentence for each score that does not follow from its parts; nothing where a part is not known."""
    for name, follows in _follow(scores).items():
        told = scores.get(name)
        if told is not None and not isclose(told, follows, rel_tol=CLOSE, abs_tol=CLOSE):
            yield f"{name} is {told:g}, and from the scores that it is made of follows {follows:g}."


AT_SHARES = tuple(
    f"{name}_{share}"
    for share in SHARES
    for name in ("accuracy_selected", "accuracy_static", "accuracy_random", "paper_gap", "retained", "mass_kept")
)
"""What there is of a model whose specialization was measured, beside accuracy with all experts and with none."""


def presence(record: Record, inputs: int | None) -> Iterator[str]:
    """A specialization without its parts, parts without it, and one that is null although it can be known, or known
    although it cannot. ``inputs`` of the test data; None where these are not here.
    """
    scores, value = record.scores, record.scores.get("specialization")
    reason = record.reasons.get("specialization", "")
    parts = [name for name in AT_SHARES if scores.get(name) is not None]
    whole, none = scores.get("accuracy_all_experts"), scores.get("accuracy_no_experts")
    if whole is None or none is None:
        if value is not None or parts or reason != NO_EXPERTS:
            yield "its specialization is not made of accuracies with all experts and with none, which it lacks."
    elif not parts:
        if value is not None or "it needs at least 8" not in reason:
            yield "its specialization is not made of accuracies at shares of the experts, which it lacks."
    elif lacking := [name for name in (*AT_SHARES, "paper_gap") if scores.get(name) is None]:
        yield f"its specialization is measured, and it lacks {', '.join(lacking)}."
    elif value is None and not reason.startswith(NOT_DEPENDENT):
        yield f"its specialization is null for '{reason[:60]}', and its parts are there."
    else:
        yield from _known(value, whole - none, inputs)


def _known(value: float | None, depends: float, inputs: int | None) -> Iterator[str]:
    """Whether accuracy depends on the experts enough; of its standard error the ends are known, not itself.

    Each input adds -1, 0 or 1 to the mean ``depends``, so the sum of squares lies between that of fewest and of all.
    """
    rest = max(1, (inputs or 0) - 1)
    error = {name: sqrt(max(0.0, most - depends**2) / rest) for name, most in (("least", abs(depends)), ("most", 1.0))}
    surely = LEAST_STANDARD_ERRORS * error["most"] if inputs else float("inf")
    at_least = LEAST_STANDARD_ERRORS * error["least"] if inputs else 0.0
    if value is None and depends > max(LEAST_DEPENDENCE, surely):
        yield f"its specialization is null, and with a dependence of {depends:.3f} on the experts it is known."
    if value is not None and depends < max(LEAST_DEPENDENCE, at_least) - CLOSE:
        yield f"its specialization is {value:g}, and with a dependence of {depends:.3f} on the experts it is not known."


def _follow(scores: Scores) -> dict[str, float]:
    """name -> what follows for it."""
    follows: dict[str, float] = {}
    whole, none, test = (scores.get(name) for name in ("accuracy_all_experts", "accuracy_no_experts", "test_accuracy"))
    if test is not None:
        follows["accuracy_all_experts"] = test
    gaps, papers = [], []
    for share in SHARES:
        selected, static, random = (scores.get(f"accuracy_{w}_{share}") for w in ("selected", "static", "random"))
        if selected is None or static is None or random is None:
            return follows
        gaps.append(selected - static)
        papers.append(selected - random)
        follows[f"paper_gap_{share}"] = papers[-1]
        if whole is not None:
            follows[f"retained_{share}"] = selected / whole if whole else 0.0
    follows["paper_gap"] = sum(papers) / len(papers)
    if whole is not None and none is not None and whole != none:
        follows["specialization"] = sum(gaps) / len(gaps) / (whole - none)
    return follows
