"""From a row's records to its representation, its specialization and the scores beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from moebench.board.evidence import Evidence, Study
from moebench.board.model import Measure, Score
from moebench.board.reasons import first_reason
from moebench.board.rules import LEVEL
from moebench.board.statistics import Interval, mean_interval, paired_interval
from moebench.runs import Record

HEADLINE = "specialization"
INCOMPLETE = "the row has no result on every seed and task yet"


def representation(evidence: Evidence) -> Measure | None:
    """Mean over tasks of the mean over seeds of the test score; None while a task has no score."""
    if not evidence.complete:
        return None
    return measure(mean_interval(evidence.scores_SM, LEVEL), evidence.studies[0].headline.unit)


def on_task(study: Study) -> Measure | None:
    """Mean over seeds of the test score on one task; None while a run is missing."""
    if not study.complete:
        return None
    return measure(mean_interval([[score] for score in study.scores], LEVEL), study.headline.unit)


def difference(evidence: Evidence, dense: Evidence) -> Measure:
    """Representation less that of dense, paired by seed; dense differs from itself by nothing."""
    unit = evidence.studies[0].headline.unit
    if evidence.row.name == dense.row.name:
        return Measure(0.0, 0.0, 0.0, unit)
    return measure(paired_interval(evidence.scores_SM, dense.scores_SM, LEVEL), unit)


def specialization(studies: Sequence[Study]) -> tuple[Measure | None, str]:
    """Mean over tasks and seeds, or None with the commonest reason of a run that has none."""
    if not all(study.complete for study in studies):
        return None, INCOMPLETE
    reasons = {study.info.name: _mean(HEADLINE, study.final_records).reason for study in studies}
    if reason := first_reason(reasons):
        return None, reason
    values = [[record.scores[HEADLINE] or 0.0 for record in study.final_records] for study in studies]
    return measure(mean_interval(list(zip(*values, strict=True)), LEVEL), "ratio"), ""


def beside(study: Study) -> tuple[Score, ...]:
    """Every other score of the final runs by name, as its mean over seeds."""
    if not study.complete:
        return ()
    records = study.final_records
    names = {name for record in records for name in record.scores} - {HEADLINE, f"test_{study.headline.name}"}
    return tuple(_mean(name, records) for name in sorted(names))


def measure(interval: Interval, unit: str) -> Measure:
    """An interval of the statistics as a number of the board."""
    return Measure(interval.value, interval.low, interval.high, unit)


def mean_over(studies: Sequence[Study], read: Callable[[Study], float | None]) -> float | None:
    """Mean over tasks; None if a task has no number."""
    known = [value for value in map(read, studies) if value is not None]
    return sum(known) / len(known) if known and len(known) == len(studies) else None


def _mean(name: str, records: Sequence[Record]) -> Score:
    """Mean over seeds, or None with the reason unless every run has the score."""
    values = [record.scores.get(name) for record in records]
    known = [value for value in values if value is not None]
    if len(known) == len(values):
        return Score(name, measure(mean_interval([[value] for value in known], LEVEL), ""))
    pairs = zip(records, values, strict=True)
    reasons = [_why_null(record, name) for record, value in pairs if value is None]
    return Score(name, None, _commonest(reasons, len(values)))


def _why_null(record: Record, name: str) -> str:
    if record.status != "done":
        return f"the run {record.status}"
    return record.reasons.get(name, "it was not measured")


def _commonest(reasons: Sequence[str], seeds: int) -> str:
    """The reason that most runs give, the first of equals; how many give one, unless all do.

    What stands in parentheses holds numbers of one run, so it does not tell reasons apart.
    """
    kinds = [reason.partition(" (")[0] for reason in reasons]
    most = max(Counter(kinds).values())
    kind = next(kind for kind in kinds if kinds.count(kind) == most)
    reason = reasons[kinds.index(kind)]
    return reason if len(reasons) == seeds else f"{reason}, on {len(reasons)} of {seeds} seeds"
