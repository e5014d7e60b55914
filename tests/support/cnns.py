"""Evidence of the suite ``cnn`` made by hand: as the paper has it, unless a test changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import papers
from moebench.studies.evidence import Evidence, Part, Run, kept, slim
from moebench.suites import load_experiment
from moestudies.cnn import REPORT
from moestudies.cnn.rows import CONSTRAINTS, HARD, PLAIN, PLAIN_ACTIVE

EXPERTS = 4
ACCURACY = {"none": 0.60, "importance": 0.61, "kl": 0.612, HARD: 0.63, PLAIN: 0.62, PLAIN_ACTIVE: 0.58}
INFORMATION = {"none": 0.05, "importance": 0.3, "kl": 0.25, HARD: 0.1}
EVENNESS = {"none": 0.3, "importance": 0.99, "kl": 0.98, HARD: 0.9}
FIXED = {"none": 0.3, "importance": 0.25, "kl": 0.28, HARD: 0.45}

Change = Callable[[str, str, int, dict[str, Any]], None]
"""(kind, row, index, scores): changes the scores in place."""


def as_they_are(kind: str, row: str, index: int, scores: dict[str, Any]) -> None:
    """No change."""


def final(what: str, index: int) -> dict[str, Any]:
    extra = papers.EXTRA[index % 5] / (2 if what == HARD else 1)
    return {"test_accuracy": ACCURACY[what] + extra, "class_information": _plus(INFORMATION.get(what), extra)}


def _plus(value: float | None, extra: float) -> float | None:
    return None if value is None else value + extra


def fixed(what: str, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
    extra = papers.EXTRA[index % 5] / (1 + CONSTRAINTS.index(what))
    scores = {"all": final(what, index)["test_accuracy"], "fixed": FIXED[what] + extra, "unused": 0.0}
    scores["use_entropy"] = EVENNESS[what] - abs(extra)
    share_E = np.exp(-np.arange(EXPERTS) * (2 - 2 * EVENNESS[what]))
    for rank in range(EXPERTS):
        scores[f"fixed {rank + 1}"] = FIXED[what] + extra + 0.01 * (1.5 - rank)
        scores[f"use {rank + 1}"] = float(share_E[rank] / share_E.sum())
    use_CE = np.roll(np.eye(10, EXPERTS), 3, axis=1) * INFORMATION[what] + (1 - INFORMATION[what]) / EXPERTS
    return scores, {"use_CE_0": use_CE, "right_CE": use_CE}


def evidence(
    *, full: bool = False, seeds: int | None = None, change: Change = as_they_are, leave_out: str = ""
) -> Evidence:
    """Every run of the suite done but those of rows that begin with ``leave_out``."""
    (suite,) = load_experiment("cnn").suites
    count = seeds or (suite.full_seeds if full else suite.seeds)
    runs = []
    for row in papers.rows_of(suite):
        if leave_out and row.name.startswith(leave_out):
            continue
        what = row.name.partition(" ")[2]
        for index in range(count):
            for settings in row.combinations(full=full):
                for kind in ("final", *papers.kinds_of(suite, row.name)):
                    scores, arrays = (final(what, index), {}) if kind == "final" else fixed(what, index)
                    change(kind, row.name, index, scores)
                    made = papers.record(papers.cell(row, settings, index, kind), scores, papers.counts(row, EXPERTS))
                    runs.append(Run(row.name, index, slim(made), kept(arrays, REPORT.arrays) if index == 0 else {}))
    missing = () if runs else (("some run", "not run", ""),)
    return Evidence("cnn", suite.title, (Part(suite, full, count, tuple(runs), missing),))
