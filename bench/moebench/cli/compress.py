"""``moebench compress RECORD``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from moebench.cli.options import COUNT, Whole, data_option, device_option, results_option
from moebench.errors import UsageError


@click.command("compress")
@click.argument("record")
@click.option("--experts", type=int, required=True, metavar="K", help="How many a layer keeps, on average.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    default=("merge", "prune_reap"),
    show_default=True,
    metavar="M",
    help="Compression method; see `moebench list compressors`. Repeatable.",
)
@click.option("--setting", "given", multiple=True, metavar="M.NAME=VALUE", help="A setting of a method. Repeatable.")
@click.option(
    "--steps",
    type=Whole(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Fine-tuning steps; 0: none.",
)
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    default=3e-3,
    show_default=True,
    help="Of the fine-tuning.",
)
@click.option(
    "--inputs",
    type=COUNT,
    default=256,
    show_default=True,
    metavar="N",
    help="Of the validation data, on which the use and the likeness of experts are measured.",
)
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
    methods: tuple[str, ...],
    given: tuple[str, ...],
    steps: int,
    lr: float,
    inputs: int,
    batch: int,
    device: str | None,
    data: Path | None,
    results: Path,
) -> None:
    """Merge or prune the experts of a trained sparse model, fine-tune it, and print what is left and what is saved.

    RECORD is the identity of a final run in the results directory, the beginning of one, or the path of a record's
    JSON file. The model with all its experts is fine-tuned for as many steps, which shows what fine-tuning alone gives.
    """
    settings = _settings(given, methods)

    from moebench.measures.compression import load_compressor

    for method in methods:
        load_compressor(method)

    from moebench.records.find import find_record

    store, found = find_record(record, results)

    from moebench.cli.compress_table import print_rows
    from moebench.cli.trained import subject_of
    from moebench.measures.compressed import beside_the_whole

    subject = subject_of(store, found, device, data)
    batches = sorted({1, batch})
    scores, costs = beside_the_whole(
        subject,
        methods=methods,
        keep=experts,
        inputs=inputs,
        steps=steps,
        batch=int(found.cell["batch"]),
        lr=lr,
        batches=batches,
        settings=settings,
    )
    print_rows(scores, costs, found, experts, steps, batches, subject)


def _settings(given: Iterable[str], methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """METHOD.NAME=VALUE by method; values as in a suite's file, else text."""
    found: dict[str, dict[str, Any]] = {}
    for each in given:
        name, equals, text = each.partition("=")
        method, dot, setting = name.partition(".")
        if not (equals and dot and setting):
            raise UsageError(
                f"--setting takes METHOD.NAME=VALUE, such as merge_compress.rank=8, not '{each}'.", code="setting-form"
            )
        if method not in methods:
            raise UsageError(
                f"--setting {each}: '{method}' is not among the methods; add --method {method}.",
                code="setting-of-no-method",
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        found.setdefault(method, {})[setting] = value
    return found
