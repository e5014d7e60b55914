"""Accuracy, size, work and time before and after, a row for each way and number kept."""

from __future__ import annotations

from moebench.board.numbers import MISSING, short, with_interval
from moebench.board.numbers import milliseconds as milliseconds_text
from moebench.studies.claim import mean
from moebench.studies.evidence import Evidence, Series
from moebench.studies.study import Table
from moestudies.compress.rows import ALL, EXPERTS, KEEPS, TRAINED_SMALL, WAYS, Way, milliseconds, small

SIZES = {
    "layers_params": "parameters of the expert layers",
    "weights_mib": "MiB of weights",
    "model_flops": "FLOPs of the model",
}
"""Score -> title."""

HEAD = ("", "accuracy at once", "after recovery", *SIZES.values(), "ms, batch 1", "ms, batch 100")


def before_and_after(evidence: Evidence) -> Table | None:
    """Means over seeds; accuracies with their intervals."""
    if not ALL.of(evidence, EXPERTS, "before"):
        return None
    rows = [_row(evidence, f"as it was trained, {EXPERTS} experts", ALL, EXPERTS, " before", "before", "whole")]
    rows.append(_row(evidence, "fine-tuned, all experts", ALL, EXPERTS, "", "", ""))
    for keep in KEEPS:
        for way in WAYS:
            name = f"{way.name}, {keep}"
            rows.append(_row(evidence, name, way, keep, "", "unrecovered", f"{way.method} {keep}"))
    for keep in TRAINED_SMALL:
        trained = (f"trained with {keep}", MISSING, _accuracy(small(evidence, keep)))
        rows.append((*trained, *[MISSING] * (len(HEAD) - len(trained))))
    return Table(
        name="before-and-after",
        title="Before and after",
        caption="Means over training seeds, accuracies with 95 % intervals. Numbers kept are a layer's on average. "
        "FLOPs at the routing that comes. Milliseconds of one pass, medians, taken in turns.",
        head=HEAD,
        rows=tuple(rows),
    )


def _row(evidence: Evidence, name: str, way: Way, keep: int, when: str, at_once: str, timed: str) -> tuple[str, ...]:
    amounts = [mean(way.of(evidence, keep, f"{score}{when}")) for score in SIZES]
    sizes = [short(amount.value) if amount else MISSING for amount in amounts]
    times = [_ms(milliseconds(evidence, timed, batch)) for batch in (1, 100)]
    after = {} if when else way.of(evidence, keep, "after")
    first = _accuracy(way.of(evidence, keep, at_once)) if at_once else MISSING
    return (name, first, _accuracy(after), *sizes, *times)


def _accuracy(values: Series) -> str:
    return with_interval(mean(values))


def _ms(values: Series) -> str:
    found = mean(values)
    return milliseconds_text(found.value) if found else MISSING
