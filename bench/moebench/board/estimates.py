"""From a row's records to its numbers: scores with intervals, what tuning found, what it costs, where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from moebench.board.evidence import RowRuns, RowStudy, first_reason
from moebench.board.model import (
    EntryCounts,
    EntryProvenance,
    Estimate,
    LossCurve,
    RouteTable,
    Score,
    TaskResult,
    TrainingCost,
    TuningSummary,
)
from moebench.board.reasons import Reason
from moebench.board.rules import LEVEL
from moebench.measures.scores.shares import NO_EXPERTS, SHARES
from moebench.plans.plan import score_of
from moebench.records import Record
from moebench.statistics import expected_best_curve, mean_interval, welch_interval

HEADLINE = "specialization"
OF_TOKENS = (
    *(f"expert_information_{label}" for label in ("token", "group", "position")),
    *(f"saturation_{share}" for share in SHARES),
    "co_activation",
)
COUNTED = ("total_params", "active_params", "model_params", "flops_per_input")


def representation(evidence: RowRuns) -> Estimate | None:
    """Mean over tasks of the mean over seeds of the test score; None while a run is missing."""
    return Estimate.of(mean_interval(evidence.scores_SM, LEVEL), evidence.unit) if evidence.complete else None


def score_beside(evidence: RowRuns) -> Estimate | None:
    """The same of the score that does not rank, of headline and loss; None where a task lacks it."""
    beside = evidence.studies[0].beside
    if beside is None or not evidence.beside_SM:
        return None
    return Estimate.of(mean_interval(evidence.beside_SM, LEVEL), beside.unit)


def difference(evidence: RowRuns, dense: RowRuns) -> Estimate:
    """Representation less that of dense; dense differs from itself by nothing."""
    if evidence.row.name == dense.row.name:
        return Estimate(0.0, 0.0, 0.0, evidence.unit)
    return Estimate.of(welch_interval(evidence.scores_SM, dense.scores_SM, LEVEL), evidence.unit)


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


def of_tokens(studies: Sequence[RowStudy]) -> dict[str, Estimate]:
    """Scores of single tokens, means over tasks and seeds; those alone that every final run has."""
    found = {}
    for name in OF_TOKENS if all(study.complete for study in studies) else ():
        values = [[record.scores.get(name) for record in study.final_records] for study in studies]
        known = [[value for value in each if value is not None] for each in values]
        if known == values:
            found[name] = Estimate.of(mean_interval(list(zip(*known, strict=True)), LEVEL), "")
    return found


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
    finals = _finals_validation(study)
    return TuningSummary(
        winner=study.winner,
        settings=settings,
        validation=values[study.winner],
        default_validation=values[0],
        finals_validation=finals,
        # A trial of fewer steps is worse than a final run by those.
        winners_curse=None
        if finals is None or group.shorter_trials
        else study.headline.difference(values[study.winner], finals),
        device_seconds=round(sum(float(record.provenance.get("seconds", 0)) for record in records), 3),
        edges=_edges(group.trials, settings),
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
    whole = recorded.get("model_flops_per_input")
    named = {name: int(recorded[name]) for name in COUNTED}
    return EntryCounts(**named, model_flops_per_input=None if whole is None else int(whole), budget_error=error)


def mean_counts(studies: Sequence[RowStudy]) -> EntryCounts | None:
    """Means over the tasks; None until every task has counts."""
    found = [one for study in studies if (one := counts(study))]
    if len(found) < len(studies):
        return None
    means = {name: round(sum(getattr(one, name) for one in found) / len(found)) for name in COUNTED}
    whole = _mean_of_means([[one.model_flops_per_input] for one in found])
    return EntryCounts(
        **means,
        model_flops_per_input=None if whole is None else round(whole),
        budget_error=max((one.budget_error for one in found), key=abs),
    )


def training(studies: Sequence[RowStudy]) -> TrainingCost | None:
    """What a final run takes: a mean over runs, then over tasks; None until every task has final runs."""
    if not all(study.final_records for study in studies):
        return None
    flops = [[record.counts.get("training_flops") for record in study.final_records] for study in studies]
    seconds = [[record.details.get("train_seconds") for record in study.final_records] for study in studies]
    whole = _mean_of_means(flops)
    return TrainingCost(flops=None if whole is None else round(whole), seconds=_mean_of_means(seconds))


def _mean_of_means(values: Sequence[Sequence[float | None]]) -> float | None:
    """None where any is."""
    known = [[value for value in each if value is not None] for each in values]
    if any(len(some) < len(every) for some, every in zip(known, values, strict=True)):
        return None
    return fmean(fmean(each) for each in known)


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
    """The curve over the trials: all of a fixed design, or all but the default of those drawn at random."""
    if sampler == "tpe":
        return (), Reason("dependent_trials", sampler=sampler)
    counted = values if sampler == "grid" else values[1:]
    if not counted:
        return (), Reason("no_random_trial")
    return expected_best_curve(counted, higher_is_better=higher), None


def _edges(trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> tuple[Reason, ...]:
    """The settings, learning rate first, of which the best value is the smallest or largest of three or more tried."""
    found = []
    for name in sorted(best, key=lambda name: (name != "lr", name)):
        tried = {trial[name] for trial in trials if _is_number(trial[name])}
        if len(tried) > 2 and best[name] in (low := min(tried), high := max(tried)):
            end = "smallest" if best[name] == low else "largest"
            found.append(Reason("edge", name=name, value=best[name], end=end, low=low, high=high, tried=len(tried)))
    return tuple(found)


def _is_number(option: Any) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)


def _finals_validation(study: RowStudy) -> float | None:
    """Mean validation score of the final runs; None while one is missing, or where a record lacks it."""
    name = f"validation_{study.headline.name}"
    lacking = any(record.status == "done" and record.scores.get(name) is None for record in study.final_records)
    if not study.complete or lacking:
        return None
    return fmean(score_of(record, study.headline, "validation") for record in study.final_records)


def winners_curse(results: Sequence[TaskResult]) -> float | None:
    """Mean over tasks; None if a task has none."""
    found = [result.tuning.winners_curse for result in results if result.tuning]
    known = [value for value in found if value is not None]
    return fmean(known) if known and len(known) == len(results) else None


def validation_scores(study: RowStudy) -> list[float]:
    """Of every trial of a complete study, a diverged one at the task's floor."""
    return [score_of(run.record, study.headline, "validation") for run in study.trials if run.record is not None]


def loss_curve(study: RowStudy) -> LossCurve | None:
    """Mean over the final runs that are done; None where their records have none, or unequal ones."""
    kept = [record.details.get("curve", {}) for record in study.final_records if record.status == "done"]
    steps = [curve.get("steps") for curve in kept]
    if not kept or not steps[0] or any(each != steps[0] for each in steps):
        return None
    train, validation = (_means(kept, name) for name in ("train_loss", "validation_loss"))
    return LossCurve(steps=tuple(steps[0]), train_loss=train, validation_loss=validation) if train else None


def routes(study: RowStudy) -> dict[str, RouteTable]:
    """Of the first final run, by what the labels are; those whose table is none are left out."""
    found = dict[str, RouteTable]()
    for record in study.final_records[:1]:
        for kind, table in record.details.get("routes", {}).items():
            labels, share = table.get("labels", ()), [*map(tuple, table.get("last", ()))]
            if labels and len(share) == len(labels) and len(set(map(len, share))) == 1 and share[0]:
                found[kind] = RouteTable(labels=tuple(labels), share=tuple(share))
    return found


def _means(curves: Sequence[Mapping[str, Any]], name: str) -> tuple[float, ...]:
    """Point by point; empty unless every curve has a number at each of its steps."""
    values = [curve.get(name, ()) for curve in curves]
    whole = all(len(each) == len(curves[0]["steps"]) and None not in each for each in values)
    return tuple(map(fmean, zip(*values, strict=True))) if whole else ()


def train_inputs(studies: Iterable[RowStudy]) -> int | None:
    """How many training inputs there are on a task, as the first record that knows says."""
    records = (record for study in studies for record in study.final_records)
    return next((int(found) for record in records if (found := record.details.get("train_inputs"))), None)


def scored_bytes(studies: Iterable[RowStudy]) -> int | None:
    """How many bytes of the test text were scored, as the first record that knows says."""
    records = (record for study in studies for record in study.final_records)
    return next((int(found) for record in records if (found := record.scores.get("test_scored_bytes"))), None)
