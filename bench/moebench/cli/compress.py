"""``moebench compress RECORD``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from moebench.cli.options import COUNT, data_option, device_option, results_option
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
    help="How; see `moebench list compressors`. Repeatable.",
)
@click.option("--setting", "given", multiple=True, metavar="M.NAME=VALUE", help="Of a method. Repeatable.")
@click.option(
    "--steps", type=click.IntRange(min=0), default=100, show_default=True, metavar="N", help="Of recovery; 0 for none."
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

    from moebench.plugins.compressors import load_compressor
    from moebench.runs.find import find_record

    for method in methods:
        load_compressor(method)
    store, found = find_record(record, results)

    import torch

    from moebench.cli.compress_table import print_rows
    from moebench.cli.record_data import check_data
    from moebench.derived import Subject
    from moebench.derived.compressed import compressed, compressed_cost, make_smaller
    from moebench.execution.trained import load_trained, traits_of
    from moebench.runs import Cell
    from moebench.subset.infer import experts_of
    from moebench.tasks import get_task
    from moebench.training.device import choose_device

    where, cell = choose_device(device), Cell.from_json(found.cell)
    check_data(found, cell, data)
    torch.set_num_threads(cell.threads)
    model = load_trained(store, found, where)
    subject = Subject(
        model, traits_of(store, found), get_task(cell.task), data, where, cell.precision, found.scores, cell.seed
    )
    # The whole model first; what cannot be done is found out before anything is recovered.
    ways = {"keep_all": experts_of(model), **dict.fromkeys(dict.fromkeys(methods), experts)}
    for method in methods:
        make_smaller(subject, method, ways[method], inputs, settings.get(method, {}))
    scores = {
        method: compressed(
            subject,
            method=method,
            keep=keep,
            inputs=inputs,
            steps=steps,
            batch=cell.batch,
            lr=lr,
            settings=settings.get(method),
        ).values
        for method, keep in ways.items()
    }
    costs = compressed_cost(
        subject,
        methods=[method for method in ways if method != "keep_all"],
        keeps=[experts],
        inputs=inputs,
        batches=sorted({1, batch}),
        rounds=10,
        repeats=5,
        settings=settings,
    ).values
    print_rows(scores, costs, found, experts, steps, sorted({1, batch}), where)


def _settings(given: Iterable[str], methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """METHOD.NAME=VALUE by method; values as in a suite's file, else text."""
    found: dict[str, dict[str, Any]] = {}
    for each in given:
        name, equals, text = each.partition("=")
        method, dot, setting = name.partition(".")
        if not (equals and dot and setting):
            raise UsageError(f"--setting takes METHOD.NAME=VALUE, such as merge_compress.rank=8, not '{each}'.")
        if method not in methods:
            raise UsageError(f"--setting {each}: '{method}' is not among the methods; add --method {method}.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        found.setdefault(method, {})[setting] = value
    return found
