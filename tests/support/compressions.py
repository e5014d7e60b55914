"""Evidence of the suite ``compress`` made by hand: as its papers have it, unless a test changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import papers
from moebench.records import Cell
from moebench.studies.evidence import Evidence, Part, Run, slim
from moebench.suites import load_experiment
from moestudies.compress.rows import (
    ALL,
    EXPERTS,
    FACTORED,
    MERGE,
    RANDOM,
    REAP,
    UNALIGNED,
    USAGE,
    Way,
)

WAYS = (ALL, MERGE, FACTORED, UNALIGNED, REAP, USAGE, RANDOM)
AT_ONCE = dict(zip((way.name for way in WAYS), (0.4, 0.35, 0.34, 0.31, 0.36, 0.33, 0.30), strict=True))
AFTER = dict(zip((way.name for way in WAYS), (0.401, 0.398, 0.397, None, 0.38, 0.375, 0.36), strict=True))
SMALL = 0.37

Change = Callable[[str, int, int, dict[str, Any]], None]
"""(way, or row of what was trained, number kept, index, scores): changes the scores in place."""


def as_they_are(name: str, keep: int, index: int, scores: dict[str, Any]) -> None:
    """No change."""


def way_of(takes: dict[str, Any]) -> Way:
    (found,) = [w for w in WAYS if (w.method, dict(w.settings)) == (takes["method"], takes["settings"])]
    return found


def compressed(way: Way, keep: int, index: int) -> dict[str, Any]:
    """Sizes follow the number kept; compressing makes an expert a third."""
    extra, share = papers.EXTRA[index % 5], keep / EXPERTS
    each = 0.3 if way is FACTORED else 1.0
    varies, after = 1 + WAYS.index(way), AFTER[way.name]
    rank = None if way is FACTORED else 4 - 0.5 * (way is MERGE) + extra * (1 + (way is MERGE))
    return {
        "before": 0.4 + extra,
        "unrecovered": AT_ONCE[way.name] + extra / varies,
        "after": None if after is None else after + extra / (1 + varies),
        "layers_params before": 532_000,
        "layers_params": 532_000 * share * each,
        "weights_mib before": 2.2,
        "weights_mib": 0.2 + 2 * share * each,
        "model_flops before": 1e7,
        "model_flops": 1e7 * (0.6 if way is FACTORED else 0.9),
        "stable_rank before": 4.1,
        "stable_rank": rank,
    }


def timed(takes: dict[str, Any], index: int) -> dict[str, Any]:
    times = {"whole": 50.0 + index}
    for method in takes["methods"]:
        times |= {f"{method} {keep}": 40.0 + keep / 4 + index / 2 for keep in takes["keeps"]}
    return {f"{name} model_ms batch={b}": ms * b / 100 for name, ms in times.items() for b in takes["batches"]}


def evidence(*, seeds: int | None = None, change: Change = as_they_are, leave_out: str = "") -> Evidence:
    """Every run of the suite done but those of methods, or rows, of the name ``leave_out``."""
    (suite,) = load_experiment("compress").suites
    count = seeds or suite.seeds
    runs = []
    for row in papers.rows_of(suite):
        for index in range(count):
            if row.name != leave_out:
                scores: dict[str, Any] = {"test_accuracy": SMALL + papers.EXTRA[index % 5] / 7}
                change(row.name, 0, index, scores)
                made = papers.record(papers.cell(row, {}, index, "final"), scores, papers.counts(row, EXPERTS))
                runs.append(Run(row.name, index, slim(made)))
            for measure in (each for each in suite.measure if row.name in each.rows):
                takes = dict(measure.takes)
                if measure.kind == "compressed_cost":
                    name, keep, scores = "cost", 0, timed(takes, index)
                else:
                    way, keep = way_of(takes), takes["keep"]
                    name, scores = way.name, compressed(way, keep, index)
                if leave_out in (name, takes.get("method")):
                    continue
                change(name, keep, index, scores)
                cell = papers.cell(row, {}, index, measure.kind)
                cell = Cell(**(cell.to_json() | {"session": {**cell.session, "takes": takes}}))
                runs.append(Run(row.name, index, slim(papers.record(cell, scores))))
    return Evidence("compress", suite.title, (Part(suite, False, count, tuple(runs)),))
