"""The facts beside claims and figures: sizes, how and where it was measured, what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from moebench.studies.evidence import Evidence, Part, Run
from moebench.suites import Suite
from moebench.tasks import get_task
from moebench.text import counted_noun

SHOWN = 6
"""So many missing runs of a part are named."""


@dataclass(frozen=True)
class Size:
    """One model.

    dim: the host's width. experts: 1 of a layer that has none. width: hidden units of one expert, per layer if they
    differ. router, total, active: parameters of Phi, of the expert layers, and those that act on a token. off: by which
    share the budget is missed. flops: of the expert layers, per input. model: parameters of the whole model.
    """

    dim: int
    experts: int
    width: str
    router: int
    total: int
    active: int
    off: float
    flops: int
    model: int


@dataclass(frozen=True)
class SizeTable:
    """Models, from few experts to many."""

    caption: str
    rows: tuple[Size, ...]

    @property
    def of_widths(self) -> bool:
        """Whether the hosts differ in width."""
        return len({row.dim for row in self.rows}) > 1

    @property
    def sparse(self) -> bool:
        """Whether there is one of which not all parameters are active."""
        return any(row.active != row.total for row in self.rows)


@dataclass(frozen=True)
class PartFacts:
    """How a part was measured. left_out: what its full form has beside. missing: sentences."""

    name: str
    question: str
    facts: tuple[tuple[str, str], ...]
    left_out: str
    missing: str


def size_tables(sized: Iterable[tuple[str, tuple[str, ...], str]], evidence: Evidence) -> list[SizeTable]:
    """The tables of which there are runs. sized: (part, rows, caption) of each."""
    tables = []
    for part, names, caption in sized:
        rows = dict.fromkeys(_size(run) for name in names for run in evidence.find(part, "final", name))
        if rows:
            tables.append(SizeTable(caption, tuple(sorted(rows, key=lambda row: (row.experts, row.dim)))))
    return tables


def _size(run: Run) -> Size:
    counts, routed = run.record.counts, run.setting("experts")
    slots = run.setting("slots") or 1
    return Size(
        dim=counts["layers"][0]["dim"],
        experts=routed or 1,
        width=" ".join(map(str, dict.fromkeys(counts["sizes"]))),
        router=sum(layer["dim"] * (routed or 0) * slots for layer in counts["layers"]),
        total=counts["total_params"],
        active=counts["active_params"],
        off=counts["budget_error"],
        flops=counts["flops_per_input"],
        model=counts["model_params"],
    )


def part_facts(part: Part) -> PartFacts:
    """How a part was measured, and what of it is missing."""
    form = ("full form, " if part.full else "reduced form, ") if part.suite.has_full_form else ""
    facts = [("seeds", f"{form}{counted_noun(part.seeds, 'seed')}" if part.seeds else "not planned")]
    if part.suite.tuning is not None:
        tuning = part.suite.tuning
        steps = f" of {tuning.steps:,} steps" if tuning.steps else ""
        facts.append(("tuning", f"{counted_noun(tuning.trials, 'trial')}{steps} of each row"))
    facts.append(("done", f"{len(part.runs)} of {len(part.runs) + len(part.missing)} runs"))
    if part.runs:
        made, cells = [run.record.provenance for run in part.runs], [run.record.cell for run in part.runs]
        facts += [
            ("machine", _distinct(str(each.get("device", "unknown")) for each in made)),
            ("software", _distinct(_versions(each.get("versions", {})) for each in made)),
            ("data", _distinct(f"{_label(cell)}, {cell['split']}" for cell in cells)),
            ("training", _distinct(_training(run.record.cell) for run in part.runs if run.trained) or "none"),
            (
                "arithmetic",
                _distinct(f"{cell['precision']}, {counted_noun(cell['threads'], 'thread')}" for cell in cells),
            ),
            ("protocol", _distinct(str(cell["protocol"]) for cell in cells)),
        ]
    left_out = "" if part.full or not part.seeds else _left_out(part.suite, part.seeds)
    return PartFacts(part.name, part.suite.title, tuple(facts), left_out, _missing(part))


def _left_out(suite: Suite, seeds: int) -> str:
    """What the full form has and the reduced one does not."""
    many = suite.full_seeds or seeds
    gone = [f"{many - seeds} of {counted_noun(many, 'seed')}"] if seeds < many else []
    for row in suite.row:
        if row.only_full:
            gone.append(row.name)
        for setting, values in row.vary_full.items():
            more = [str(value) for value in values if value not in row.vary.get(setting, [])]
            if more:
                gone.append(f"{row.name} with {setting} = {', '.join(more)}")
    return "; ".join(gone)


def _missing(part: Part) -> str:
    if part.problem:
        return f"Not planned: {part.problem.rstrip('.')}."
    if not part.missing:
        return ""
    if not part.runs and all(status == "not run" for _, status, _ in part.missing):
        return "It has not run."
    named = [f"{run} ({': '.join(filter(None, (status, reason)))})" for run, status, reason in part.missing[:SHOWN]]
    more = len(part.missing) - len(named)
    return f"Missing: {'; '.join(named)}{f'; and {more} more' if more else ''}."


def _label(cell: dict[str, Any]) -> str:
    """Which data, down to the copy where it is known to be no original."""
    return get_task(cell["task"]).info.label_of(cell["data_digest"])


def _training(cell: dict[str, Any]) -> str:
    settings = cell["settings"]
    decay = f", weight decay {settings['weight_decay']:g}" if settings.get("weight_decay") else ""
    return f"{cell['steps']:,} steps of batch {cell['batch']:,}, {cell['optimiser']} at {settings['lr']:g}{decay}"


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
