"""Re-run a few runs of a submission, chosen by its own digest, so that whoever hands it in cannot choose them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from math import sqrt
from pathlib import Path
from statistics import mean, variance

import torch

from moebench.board import Verification
from moebench.errors import DeviceError
from moebench.files import LARGE, read_bytes
from moebench.plans.plan import Group
from moebench.publish import manifest, pack
from moebench.publish.sources import Submission
from moebench.records import Record, Store
from moebench.runner.executors.local import LocalExecutor

SPREADS = 4.0
"""Standard deviations over seeds within which a re-run on another machine agrees: rounding changes a run as much as a
fresh seed. They are pooled over the rows, so that no row sets its own.
"""

LEAST_SPREAD = 0.001
"""The least standard deviation that is assumed."""

MOST_SHARE = 0.1
"""Of the distance from the task's floor to the published score: no spread of a submission's own allows more."""

SPECIALIZATION = "specialization"
MOST_SPECIALIZATION = 0.5
"""The same share for specialization, of which seeds differ by more."""


@dataclass(frozen=True)
class Number:
    """A score that the board shows, as published and as re-run (None: the run ended without), and the largest
    difference allowed.
    """

    name: str
    published: float | None
    found: float | None
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is allowed."""
        if self.published is None or self.found is None:
            return self.published is self.found
        return abs(self.published - self.found) <= self.allowed


@dataclass(frozen=True)
class Again:
    """One re-run. numbers: what the board shows of it, the score that ranks first. statuses: as published, and now.
    others: names of the scores that differ in any digit. device: of the re-run.
    """

    label: str
    numbers: tuple[Number, ...]
    statuses: tuple[str, str]
    others: tuple[str, ...]
    device: str

    @property
    def agrees(self) -> bool:
        """The same status, and every number that the board shows agrees."""
        return self.statuses[0] == self.statuses[1] and all(number.agrees for number in self.numbers)

    @property
    def exactly(self) -> bool:
        """Whether all scores are the same to the last digit."""
        return self.statuses[0] == self.statuses[1] and not self.others


def chosen(submission: Submission, count: int, pick: str = "") -> list[str]:
    """``count`` identities, finals and trials in turns, each in an order that the records' bytes decide with ``pick``.

    The bytes hold times and dates, which a forger may try until the order suits; what a reviewer picks he cannot know.
    """
    key = manifest.sha256(_bytes(submission) + pick.encode())
    order = sorted(submission.training, key=lambda each: hashlib.sha256(f"{key}{each}".encode()).digest())
    kinds = [[each for each in order if submission.training[each][1].kind == kind] for kind in ("final", "trial")]
    in_turns = [each for pair in zip_longest(*kinds) for each in pair if each is not None]
    return in_turns[:count]


def _bytes(submission: Submission) -> bytes:
    return read_bytes(submission.directory / pack.NAME, LARGE)


def rerun(
    submission: Submission, count: int, scratch: Path, started: Callable[[str], None], pick: str = ""
) -> Iterator[Again]:
    """Re-run the chosen runs in turn on this machine, into ``scratch``; ``started`` gets the label of each.

    The device is of the kind that they ran on; :class:`DeviceError` where there is none.
    """
    device = str(submission.plan.device["type"])
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "these runs were made on a CUDA device and this machine has none; run them again on one.",
            code="rerun-needs-cuda",
        )
    Store(scratch).prepare()
    executor = LocalExecutor(scratch, workers=1)
    executor.fit(device)
    try:
        for identity in chosen(submission, count, pick):
            job = submission.job(identity, scratch, device)
            started(job.label)
            executor.submit(job)
            while executor.running:
                for _, record in executor.wait(1.0):
                    assert record is not None  # the directory is nobody else's
                    yield _compared(submission, identity, record, job.label)
    finally:
        executor.close()


def verification(submission: Submission, again: list[Again], pick: str = "") -> Verification:
    """The re-runs as the page shows them."""
    firsts = [each.numbers[0] for each in again]
    differences = [abs(n.published - n.found) for n in firsts if n.published is not None and n.found is not None]
    return Verification(
        runs=len(submission.training),
        rerun=len(again),
        agreed=sum(each.agrees for each in again),
        exact=sum(each.exactly for each in again),
        largest=max(differences, default=0.0),
        device=", ".join(sorted({each.device for each in again})),
        records=manifest.sha256(_bytes(submission)),
        pick=pick,
    )


def _compared(submission: Submission, identity: str, record: Record, label: str) -> Again:
    """Everything that the board shows of the run, as it was published and as it is now."""
    group, cell = submission.training[identity]
    headline, published = group.headline, submission.pack.records[identity]
    then, now = published.scores, record.scores

    def number(name: str, spread_of: str, floor: float, share: float) -> Number:
        was = then.get(name)
        reach = 0.0 if was is None else share * abs(was - floor)
        allowed = min(SPREADS * _spread(submission, group, spread_of), reach)
        return Number(name, was, now.get(name), max(allowed, SPREADS * LEAST_SPREAD))

    scored = f"test_{headline.name}"
    name = scored if cell.kind == "final" else f"validation_{headline.name}"
    numbers = [number(name, scored, headline.floor, MOST_SHARE)]
    if cell.kind == "final":
        numbers.append(number(SPECIALIZATION, SPECIALIZATION, 0.0, MOST_SPECIALIZATION))
    return Again(
        label=label,
        numbers=tuple(numbers),
        statuses=(published.status, record.status),
        others=tuple(sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))),
        device=str(record.provenance.get("device", "")),
    )


def _spread(submission: Submission, group: Group, metric: str) -> float:
    """Standard deviation over the seeds of a study, pooled over all rows on the same task at the same budget."""
    seeds: dict[str, list[float]] = defaultdict(list)
    for other, record in submission.trained():
        value = record.scores.get(metric)
        if (other.task, other.budget, record.cell["kind"]) == (group.task, group.budget, "final") and value is not None:
            seeds[other.row].append(value)
    variances = [variance(values) for values in seeds.values() if len(values) > 1]
    return sqrt(mean(variances)) if variances else 0.0
