"""Run again a few runs of a submission, chosen by its own digest, so that whoever hands it in cannot choose them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from math import sqrt
from pathlib import Path
from statistics import mean, variance

from moebench.board import Verification
from moebench.errors import DeviceError
from moebench.plans.plan import Group
from moebench.publish import manifest, pack
from moebench.publish.sources import Submission
from moebench.records import Cell, Record

SPREADS = 4.0
"""Standard deviations over seeds within which a run on another machine agrees with what was told: rounding sends it
another way, as a fresh seed would. They are pooled over the rows, so that no row sets its own.
"""

LEAST_SPREAD = 0.001
"""What seeds are taken to differ by where they differ by less, or where there is one."""

MOST_SHARE = 0.1
"""Of the way from the task's floor to the score told: no spread of a submission's own excuses more."""

SPECIALIZATION = "specialization"
MOST_SPECIALIZATION = 0.5
"""The same share for specialization, of which seeds differ by more."""


@dataclass(frozen=True)
class Number:
    """A score that the board shows: then and now, None where the run did not end with one, and by how much the two may
    differ.
    """

    name: str
    told: float | None
    found: float | None
    allowed: float

    @property
    def agrees(self) -> bool:
        """As near as another machine's rounding may bring it."""
        if self.told is None or self.found is None:
            return self.told is self.found
        return abs(self.told - self.found) <= self.allowed


@dataclass(frozen=True)
class Again:
    """One run that was run again. numbers: what the board shows of it, the score it is ranked by first. statuses: then
    and now. others: names of all scores that are not the same to the last digit. device: it ran on now.
    """

    label: str
    numbers: tuple[Number, ...]
    statuses: tuple[str, str]
    others: tuple[str, ...]
    device: str

    @property
    def agrees(self) -> bool:
        """The same status, and everything that the board shows as near as another machine's rounding may bring it."""
        return self.statuses[0] == self.statuses[1] and all(number.agrees for number in self.numbers)

    @property
    def exactly(self) -> bool:
        """Whether all scores are the same to the last digit."""
        return self.statuses[0] == self.statuses[1] and not self.others


def chosen(submission: Submission, count: int, pick: str = "") -> list[str]:
    """``count`` identities, finals and trials in turns, each in an order that the records' bytes decide with ``pick``.

    The bytes hold times and dates, which a forger may try until the order suits; what a reviewer picks he cannot know.
    """
    key = manifest.sha256(records_of(submission) + pick.encode())
    order = sorted(submission.training, key=lambda each: hashlib.sha256(f"{key}{each}".encode()).digest())
    kinds = [[each for each in order if submission.training[each][1].kind == kind] for kind in ("final", "trial")]
    in_turns = [each for pair in zip_longest(*kinds) for each in pair if each is not None]
    return in_turns[:count]


def records_of(submission: Submission) -> bytes:
    """The bytes of its records."""
    return (submission.directory / pack.NAME).read_bytes()


def rerun(
    submission: Submission, count: int, scratch: Path, started: Callable[[str], None], pick: str = ""
) -> Iterator[Again]:
    """Run them one after the other on this machine, into ``scratch``; ``started`` is told the label of each.

    They run on the kind of device that they ran on; :class:`DeviceError` before the first where there is none.
    """
    from moebench.records import Store
    from moebench.runner.executors.local import LocalExecutor
    from moebench.runner.job import Job

    device = _device(submission)
    Store(scratch).prepare()
    executor = LocalExecutor(scratch, workers=1)
    executor.fit(device)
    try:
        for identity in chosen(submission, count, pick):
            group, cell = submission.training[identity]
            label = f"{group.row} {group.task} at {group.budget:,}, {cell.kind} with seed {cell.seed}"
            started(label)
            executor.submit(
                Job(
                    cell=cell,
                    row=group.row,
                    spec=submission.spec(group.row),
                    label=label,
                    suite=submission.plan.suite.name,
                    results=scratch,
                    data=submission.data,
                    device=device,
                    backend=submission.plan.backend,
                    save_weights=False,
                )
            )
            while executor.running:
                for _, record in executor.wait(1.0):
                    assert record is not None  # the directory is nobody else's
                    yield _compared(submission, group, cell, record, label)
    finally:
        executor.close()


def _device(submission: Submission) -> str:
    import torch

    kind = str(submission.plan.device["type"])
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("these runs were made on a CUDA device and this machine has none; run them again on one.")
    return kind


def verification(submission: Submission, again: list[Again], pick: str = "") -> Verification:
    """What the page says of it."""
    firsts = [each.numbers[0] for each in again]
    apart = [abs(n.told - n.found) for n in firsts if n.told is not None and n.found is not None]
    return Verification(
        runs=len(submission.training),
        rerun=len(again),
        agreed=sum(each.agrees for each in again),
        exact=sum(each.exactly for each in again),
        largest=max(apart, default=0.0),
        device=", ".join(sorted({each.device for each in again})),
        records=manifest.sha256(records_of(submission)),
        pick=pick,
    )


def _compared(submission: Submission, group: Group, cell: Cell, record: Record, label: str) -> Again:
    from moebench.tasks import get_task

    headline = get_task(cell.task).info.ranked_by
    scored = f"test_{headline.name}"
    told = submission.pack.get(cell.identity)
    then, now = told.scores if told else {}, record.scores

    def number(name: str, spread_of: str, floor: float, share: float) -> Number:
        was = then.get(name)
        reach = 0.0 if was is None else share * abs(was - floor)
        allowed = min(SPREADS * _spread(submission, group, spread_of), reach)
        return Number(name, was, now.get(name), max(allowed, SPREADS * LEAST_SPREAD))

    name = scored if cell.kind == "final" else f"validation_{headline.name}"
    numbers = [number(name, scored, headline.floor, MOST_SHARE)]
    if cell.kind == "final":
        numbers.append(number(SPECIALIZATION, SPECIALIZATION, 0.0, MOST_SPECIALIZATION))
    return Again(
        label=label,
        numbers=tuple(numbers),
        statuses=(told.status if told else "missing", record.status),
        others=tuple(sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))),
        device=str(record.provenance.get("device", "")),
    )


def _spread(submission: Submission, group: Group, metric: str) -> float:
    """Standard deviation over the seeds of a study, pooled over all rows on the same task at the same budget."""
    variances = []
    for other in submission.plan.groups:
        if (other.task, other.budget) == (group.task, group.budget):
            finals = [submission.pack.get(cell.identity) for cell in other.final_cells(submission.pack.get)]
            seeds = [value for r in finals if r is not None and (value := r.scores.get(metric)) is not None]
            variances += [variance(seeds)] if len(seeds) > 1 else []
    return sqrt(mean(variances)) if variances else 0.0
