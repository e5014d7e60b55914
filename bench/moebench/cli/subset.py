"""``moebench subset RECORD``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import COUNT, data_option, device_option, results_option

if TYPE_CHECKING:
    from moebench.records import Record


@click.command("subset")
@click.argument("record")
@click.option("--experts", type=int, required=True, metavar="K", help="How many act for each input.")
@click.option("--score", default="combine_sum", show_default=True, metavar="S", help="Score that chooses them.")
@click.option("--rule", default="as_is", show_default=True, metavar="R", help="How they are combined.")
@click.option(
    "--batch",
    type=COUNT,
    default=100,
    show_default=True,
    metavar="N",
    help="Timed beside batch size 1.",
)
@device_option
@data_option
@results_option
def command(
    record: str,
    experts: int,
    score: str,
    rule: str,
    batch: int,
    device: str | None,
    data: Path | None,
    results: Path,
) -> None:
    """Use K experts of a trained model for each input, beside all of them and K random ones.

    RECORD is the identity of a final run in the results directory, the beginning of one, or the path of a record's
    JSON file. Scores: combine_sum (the paper's), combine_max, combine_norm, dispatch, static, random, worst. Rules:
    as_is (the paper's), and renormalise or mask_logits where the variant has them.
    """
    from moebench.records.find import find_record

    store, found = find_record(record, results)

    from moebench.cli.subset_table import print_comparison
    from moebench.cli.trained import subject_of
    from moebench.measures.subset.infer import fit_static
    from moebench.measures.subset.report import compare
    from moebench.measures.subset.scores import check_score

    check_score(score)
    _check_experts(found)
    subject = subject_of(store, found, device, data)
    model, precision, test = subject.model, subject.precision, subject.data("test")
    fitted = fit_static(model, subject.data("validation"), precision=precision) if score == "static" else None
    batches = sorted({1, batch})
    rows = compare(
        model, subject.task, test, experts, score=score, rule=rule, fitted=fitted, batches=batches, precision=precision
    )
    print_comparison(rows, found, score, len(test), subject)


def _check_experts(record: Record) -> None:
    """Refuse, before anything is loaded, what has no subset of experts."""
    from moebench.errors import UsageError
    from moebench.measures.scores.shares import NO_EXPERTS

    if record.reasons.get("specialization") == NO_EXPERTS:
        name = f"record {record.identity} is of '{record.cell['variant']}'"
        raise UsageError(
            f"{name}, whose layers show no routing; there is no subset of experts to choose.",
            code="no-routing-to-select",
        )
