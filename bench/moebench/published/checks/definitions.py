"""Scores that are made of other scores, made again: the definitions of docs/records.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose

from moebench.board.shares import SHARES

CLOSE = 1e-6
"""Accuracies are means in float32, and what is made of them is not."""

Scores = Mapping[str, float | None]


def definitions(scores: Scores) -> Iterator[str]:
    """A sentence for each score that does not follow from its parts; nothing where a part is not known."""
    for name, follows in _follow(scores).items():
        told = scores.get(name)
        if told is not None and not isclose(told, follows, rel_tol=CLOSE, abs_tol=CLOSE):
            yield f"{name} is {told:g}, and from the scores that it is made of follows {follows:g}."


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
