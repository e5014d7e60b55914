"""The trained model of a finished run, rebuilt from its record and its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from moebench.errors import MoebenchError, PluginError, ResultsError, UsageError
from moebench.hosts.host import Host
from moebench.plans.history import remember_suites
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.records import Cell, Record, Store
from moebench.runner.job import Job
from moebench.runner.model import build
from moebench.runner.weights import load_weights
from moebench.training.device import use


def load_trained(store: Store, record: Record, device: torch.device) -> Host:
    """A final run's model with its final weights, in evaluation mode, on a device that becomes this process's own.

    :class:`UsageError`, :class:`ResultsError` or :class:`PluginError` where the run is of another kind, did not finish
    or kept no weights, or where its variant has changed.
    """
    cell, name = Cell.from_json(record.cell), f"record {record.identity}"
    if cell.kind != "final":
        raise UsageError(
            f"{name} is of kind '{cell.kind}'; only a final run has a trained model.", code="not-final", kind=cell.kind
        )
    if record.status != "done":
        raise UsageError(
            f"{name} ended as '{record.status}' ({record.reason.rstrip('.')}); it has to be 'done'.",
            code="not-done",
            status=record.status,
        )
    path = store.weights_path(record.identity)
    if not path.is_file():
        unkept = str(record.details.get("weights", "")).rstrip(".")
        why = unkept or "it ran with --no-weights, or they were not copied"
        raise ResultsError(
            f"{name} has no weights in '{path}'; {why}.",
            code="no-weights",
            path=path,
        )
    job = Job(
        cell=cell,
        row=str(record.provenance.get("row", cell.variant)),
        spec=_spec_of(store, record, cell),
        label=name,
        suite=str(record.provenance.get("suite", "")),
        results=store.root,
        device=str(device),
        ranked=False,
    )
    use(device, cell.precision)
    model = build(job, device, store).model
    load_weights(model, store, record.identity, device)
    return model.eval()


def _spec_of(store: Store, record: Record, cell: Cell) -> str:
    """How to find the variant again: the installed one of its name, or one that a suite here had from a file."""
    digests = {}
    for spec in dict.fromkeys((cell.variant, *_specs_of_suites(store.root))):
        try:
            digests[spec] = code_identity(find_variant(spec))
        except MoebenchError:  # not installed, or its file is gone
            continue
        if digests[spec] == cell.code_digest:
            return spec
    named = f"record {record.identity} is of '{cell.variant}'"
    if cell.variant in digests:
        raise PluginError(
            f"{named}, whose code has changed since; train it again.", code="code-changed-since", variant=cell.variant
        )
    raise PluginError(
        f"{named}, which is not installed, nor unchanged in a file that a suite in '{store.root}' names.",
        code="variant-gone",
        variant=cell.variant,
    )


def _specs_of_suites(results: Path) -> Iterator[str]:
    for request in remember_suites(results):
        suite = request.suite
        yield from (*request.extras, *suite.variants)
        yield from (each.variant for each in suite.named)
        yield from (row.variant for row in suite.row)
