"""``moebench compress RECORD``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moebench.cli.options import COUNT, Whole, data_option, device_option, results_option
from moebench.errors import UsageError

if TYPE_CHECKING:
    from moebench.measures import Subject
    from moebench.records import Record


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
    help="How; see `moebench list compressors`. Repeatable.",
)
@click.option("--setting", "given", multiple=True, metavar="M.NAME=VALUE", help="Of a method. Repeatable.")
@click.option(
    "--steps", type=Whole(min=0), default=100, show_default=True, metavar="N", help="Of recovery; 0 for none."
)
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=3e-3, show_default=True, help="Of recovery.")
@click.option(
    "--inputs",
    type=COUNT,
    default=256,
    show_default=True,
    metavar="N",
    help="Of the validation data, by which it is seen who is used and who is like whom.",
)
@click.option("--batch", type=COUNT, default=100, show_default=True, metavar="N", help="Timed beside batch 1.")
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
    """Merge or prune the experts of a trained sparse model, recover it, and say what is left and what is saved.

    RECORD is the identity of a final run in the results directory, the beginning of one, or the path of a record's
    JSON file. The model with all its experts is taught for as many steps, so that what recovery alone gives is seen.
    """
    settings = _settings(given, methods)

    from moebench.measures.compression import load_compressor

    for method in methods:
        load_compressor(method)

    from moebench.cli.compress_table import print_rows
    from moebench.measures.compressed import beside_the_whole

    subject, found = _subject(record, results, device, data)
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
    print_rows(scores, costs, found, experts, steps, batches, subject.device)


def _subject(record: str, results: Path, device: str | None, data: Path | None) -> tuple[Subject, Record]:
    """The trained model of a record, on the device asked for, with its data."""
    from moebench.records import Cell
    from moebench.records.find import find_record

    store, found = find_record(record, results)

    import torch

    from moebench.cli.record_data import check_data
    from moebench.measures import Subject
    from moebench.runner.trained import load_trained
    from moebench.tasks import get_task
    from moebench.training.device import choose_device

    where, cell = choose_device(device), Cell.from_json(found.cell)
    check_data(found, cell, data)
    torch.set_num_threads(cell.threads)
    model, task = load_trained(store, found, where), get_task(cell.task)
    return Subject(model, task, data, where, cell.precision, found.scores, cell.seed), found


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
