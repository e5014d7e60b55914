"""``moebench sample RECORD``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import COUNT, data_option, device_option, results_option

if TYPE_CHECKING:
    from moebench.records import Record, Store
    from moebench.tasks.text import TextTask


@click.command("sample")
@click.argument("record")
@click.option("--prompt", default="\n", metavar="TEXT", help="What it goes on from (default: the beginning of a line).")
@click.option("--tokens", type=COUNT, default=200, show_default=True, metavar="N", help="How many it adds.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=0.8,
    show_default=True,
    metavar="T",
    help="Logits are divided by it; 0 takes the likeliest token each time (greedy decoding).",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="S", help="Of the draws."
)
@device_option
@data_option
@results_option
def command(
    record: str,
    prompt: str,
    tokens: int,
    temperature: float,
    seed: int,
    device: str | None,
    data: Path | None,
    results: Path,
) -> None:
    """Print what a trained language model writes after a prompt.

    RECORD is the identity of a final run in the results directory, the beginning of one, or the path of a record's
    JSON file. The same seed gives the same text.
    """
    from moebench.records.find import find_record

    store, found = find_record(record, results)
    task = _language_task(store, found)

    from moebench.cli.trained import subject_of
    from moebench.measures.sampling import continued

    subject = subject_of(store, found, device, data)
    ids = task.encoded(prompt or "\n", data)
    added = continued(
        subject.model,
        ids,
        tokens,
        window=task.window,
        temperature=temperature,
        seed=seed,
        precision=subject.precision,
    )
    click.echo(_shown(task.decoded([*ids, *added], data)))


def _language_task(store: Store, record: Record) -> TextTask:
    """The record's task; refuse, before any model is loaded, a record of another kind."""
    from moebench.errors import UsageError
    from moebench.hosts import host_settings
    from moebench.plans.history import remember_suites
    from moebench.plugins.named import without_digest
    from moebench.tasks import get_task
    from moebench.tasks.text import TextTask

    remember_suites(store.root)
    task, host = get_task(record.cell["task"]), record.cell["host"]
    if isinstance(task, TextTask) and not task.masked and host_settings(host).causal:
        return task
    raise UsageError(
        f"record {record.identity} is no language model: it is of task '{task.info.name}' in the host "
        f"'{without_digest(host['name'])}', and text is written by a decoder that has learned the next token.",
        code="no-language-model",
        task=task.info.name,
    )


def _shown(text: str) -> str:
    """Lines and tabs as they are; other control characters, which a terminal obeys, as a space."""
    return "".join(char if char.isprintable() or char in "\n\t" else " " for char in text)
