"""From a row's records to its numbers: scores with intervals, what tuning found, what it costs, where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log
from statistics import median
from typing import Any

from moebench.board.evidence import RowRuns, RowStudy, first_reason
from moebench.board.model import EntryCounts, EntryProvenance, Estimate, Score, TuningSummary
from moebench.board.reasons import Reason
from moebench.board.rules import EDGE_SHARE, LEVEL
from moebench.measures.scores.shares import NO_EXPERTS
from moebench.plans.plan import score_of
from moebench.records import Record
from moebench.statistics import expected_best_curve, mean_interval, paired_interval

HEADLINE = "specialization"
COUNTED = ("total_params", "active_params", "model_params", "flops_per_input")


def representation(evidence: RowRuns) -> Estimate | None:
    """Mean over tasks of the mean over seeds of the test score; None while a run is missing."""
    return Estimate.of(mean_interval(evidence.scores_SM, LEVEL), evidence.unit) if evidence.complete else None


def difference(evidence: RowRuns, dense: RowRuns) -> Estimate:
    """Representation less that of dense, paired by seed; dense differs from itself by nothing."""
    if evidence.row.name == dense.row.name:
        return Estimate(0.0, 0.0, 0.0, evidence.unit)
    return Estimate.of(paired_interval(evidence.scores_SM, dense.scores_SM, LEVEL), evidence.unit)


def specialization(studies: Sequence[RowStudy], name: str = HEADLINE) -> tuple[Estimate | None, Reason | None]:
    """Mean over tasks and seeds, or None with the commonest reason of a run that has none. name: of the quotient, or of
    its numerator or denominator.
    """
    if not all(study.complete for study in studies):
        return None, Reason("row_incomplete")
    reasons = {study.info.name: _mean(name, study.final_records).reason for study in studies}
    if reason := first_reason(reasons):
        return None, reason
    values = [[record.scores[name] or 0.0 for record in study.final_records] for study in studies]
    return Estimate.of(mean_interval(list(zip(*values, strict=True)), LEVEL), "ratio"), None


def scores_beside(study: RowStudy) -> tuple[Score, ...]:
    """Every other score of the final runs by name, as its mean over seeds."""
    if not study.complete:
        return ()
    records = study.final_records
    shown = {HEADLINE, "selection_gain", "experts_gain", f"test_{study.headline.name}"}
    names = {name for record in records for name in record.scores} - shown
    return tuple(_mean(name, records) for name in sorted(names))


def tuning(study: RowStudy, sampler: str) -> TuningSummary | None:
    """What tuning found and what it cost; None until every trial has a result."""
    group = study.group
    if group is None or study.winner is None:
        return None
    records = [run.record for run in study.trials if run.record is not None]
    values = [score_of(record, study.headline, "validation") for record in records]
    settings = dict(sorted(group.trials[study.winner].items()))
    curve, reason = _effort(values, sampler, study.headline.higher_is_better)
    return TuningSummary(
        winner=study.winner,
        settings=settings,
        validation=values[study.winner],
        default_validation=values[0],
        device_seconds=round(sum(float(record.provenance.get("seconds", 0)) for record in records), 3),
        # Nothing is at the end of a range where only the default was tried.
        edges=tuple(filter(None, (_edge(n, settings[n], group.space.get(n, {})) for n in settings if len(values) > 1))),
        effort=curve,
        effort_reason=reason,
    )


def counts(study: RowStudy) -> EntryCounts | None:
    """As the harness counted the first final run; the final runs differ in their seed alone."""
    error = study.budget_error
    if error is None:
        return None
    recorded = study.final_records[0].counts
    if any(recorded.get(name) is None for name in COUNTED):
        return None
    return EntryCounts(**{name: int(recorded[name]) for name in COUNTED}, budget_error=error)


def mean_counts(studies: Sequence[RowStudy]) -> EntryCounts | None:
    """Means over the tasks; None until every task has counts."""
    found = [one for study in studies if (one := counts(study))]
    if len(found) < len(studies):
        return None
    means = {name: round(sum(getattr(one, name) for one in found) / len(found)) for name in COUNTED}
    return EntryCounts(**means, budget_error=max((one.budget_error for one in found), key=abs))


def inputs_per_second(study: RowStudy) -> float | None:
    """Of training: the median over the final runs."""
    known = _details(study, "inputs_per_second")
    return median(known) if known else None


def tokens(study: RowStudy) -> float | None:
    """T: tokens of an input in a layer, a mean over the layers; None where the records do not say."""
    layers = study.final_records[0].counts.get("layers", ()) if study.complete and study.final_records else ()
    known = [float(layer["tokens"]) for layer in layers if layer.get("tokens")]
    return sum(known) / len(known) if known and len(known) == len(layers) else None


def train_memory(study: RowStudy) -> float | None:
    """Peak memory of training in MiB, the largest over the final runs."""
    return max(_details(study, "peak_memory_mib"), default=None)


def over_tasks(
    studies: Sequence[RowStudy], read: Callable[[RowStudy], float | None], combine: Callable[[list[float]], float]
) -> float | None:
    """A number of each task combined into one; None if a task has none."""
    known = [value for value in map(read, studies) if value is not None]
    return combine(known) if known and len(known) == len(studies) else None


def provenance(records: Sequence[Record]) -> EntryProvenance | None:
    """Where the final runs of one row on one task come from; None without any."""
    if not records:
        return None

    def named(name: str) -> tuple[str, ...]:
        return tuple(sorted({str(found) for r in records if (found := r.provenance.get(name)) is not None}))

    return EntryProvenance(
        code_digest=str(records[0].cell["code_digest"]),
        devices=named("device"),
        backends=named("backend"),
        versions=versions(records),
        started=min((str(r.provenance["started"]) for r in records if r.provenance.get("started")), default=""),
        seconds=round(sum(float(record.provenance.get("seconds", 0)) for record in records), 1),
    )


def versions(records: Iterable[Record]) -> dict[str, str]:
    """Software that the records were made with, by package; several versions are all named."""
    found: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.provenance.get("versions", {}).items():
            found.setdefault(package, set()).add(str(version))
    return {package: ", ".join(sorted(found[package])) for package in sorted(found)}


def _details(study: RowStudy, name: str) -> list[float]:
    return [float(r.details[name]) for r in study.final_records if r.details.get(name) is not None]


def _mean(name: str, records: Sequence[Record]) -> Score:
    """Mean over seeds, or None with the reason unless every run has the score."""
    values = [record.scores.get(name) for record in records]
    known = [value for value in values if value is not None]
    if len(known) == len(values):
        return Score(name, Estimate.of(mean_interval([[value] for value in known], LEVEL), ""))
    pairs = zip(records, values, strict=True)
    reasons = [_why_null(record, name) for record, value in pairs if value is None]
    return Score(name, None, _commonest(reasons, len(values)))


def _why_null(record: Record, name: str) -> Reason:
    if record.status != "done":
        return Reason("run_ended", status=record.status)
    text = record.reasons.get(name)
    if text is None:
        return Reason("not_measured")
    return Reason("no_experts") if text == NO_EXPERTS else Reason("recorded", text=text)


def _commonest(reasons: Sequence[Reason], seeds: int) -> Reason:
    """The reason that most runs give, the first of equals; how many give one, unless all do.

    Text in parentheses holds numbers of one run, so it is ignored in the comparison.
    """
    kinds = [reason.text.partition(" (")[0] for reason in reasons]
    most = max(Counter(kinds).values())
    found = next(reason for reason, kind in zip(reasons, kinds, strict=True) if kinds.count(kind) == most)
    return found if len(reasons) == seeds else Reason(found.code, **found.facts, of_seeds=(len(reasons), seeds))


def _effort(values: list[float], sampler: str, higher: bool) -> tuple[tuple[float, ...], Reason | None]:
    """The curve over the random trials; trial 0 is the default, which nobody drew."""
    if sampler != "random":
        return (), Reason("dependent_trials", sampler=sampler)
    if len(values) < 2:
        return (), Reason("no_random_trial")
    return expected_best_curve(values[1:], higher_is_better=higher), None


def _edge(name: str, value: Any, dimension: Mapping[str, Any]) -> Reason | None:
    """Given if the setting lies at the edge of what was tuned; two options have no inside."""
    if numbers := [option for option in dimension.get("options", ()) if _is_number(option)]:
        low, high = min(numbers), max(numbers)
        inside = len(numbers) < max(3, len(dimension["options"])) or low < value < high
    elif "low" in dimension:
        low, high = dimension["low"], dimension["high"]
        scale = log if dimension.get("log") else float
        inside = EDGE_SHARE < (scale(value) - scale(low)) / (scale(high) - scale(low)) < 1 - EDGE_SHARE
    else:
        return None
    return None if inside else Reason("edge", name=name, value=value, low=low, high=high)


def _is_number(option: Any) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)
