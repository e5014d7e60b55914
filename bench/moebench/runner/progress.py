"""What a person sees while a suite runs: a live line on a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from moebench.records import Record
from moebench.tasks import get_task


class Progress(Protocol):
    """Told of what starts and what ends."""

    def start(self, total: int, cached: int, workers: int) -> None:
        """So many runs in all, so many of them found again, so many at a time."""

    def running(self, labels: list[str]) -> None:
        """These are under way now."""

    def finished(self, label: str, record: Record) -> None:
        """One has ended."""

    def stop(self) -> None:
        """Nothing more comes."""


class Quiet:
    """Says nothing."""

    def start(self, total: int, cached: int, workers: int) -> None:
        """Nothing."""

    def running(self, labels: list[str]) -> None:
        """Nothing."""

    def finished(self, label: str, record: Record) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class Plain:
    """A line for each finished run, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = self._done = 0
        self._clock = _Clock()

    def start(self, total: int, cached: int, workers: int) -> None:
        """Start the clock."""
        self._total, self._done = total, cached
        self._clock.workers = workers

    def running(self, labels: list[str]) -> None:
        """Nothing: a log shows what has ended."""

    def finished(self, label: str, record: Record) -> None:
        """One line: how many of how many, what, how it came out, and the time left."""
        self._done += 1
        self._clock.add(record)
        left = self._clock.left(self._total - self._done)
        self._console.print(
            f"[{self._done}/{self._total}] {label}  {outcome_words(record)}  {left}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def stop(self) -> None:
        """Nothing."""


class Live:
    """A bar, what is running and the time to go; runs that went wrong stay on the screen as lines above it."""

    def __init__(self, console: Console) -> None:
        self._clock = _Clock()
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, left="")
        self._total = self._done = 0
        self._last = ""

    def start(self, total: int, cached: int, workers: int) -> None:
        """Show the bar."""
        self._total, self._done = total, cached
        self._clock.workers = workers
        self._bar.update(self._task, total=total, completed=cached)
        self._bar.start()

    def running(self, labels: list[str]) -> None:
        """Name what runs, and how the last one came out."""
        text = ", ".join(labels) or "finishing"
        last = f"   last: {self._last}" if self._last else ""
        self._bar.update(
            self._task, description=Text(f"{text}{last}").plain, left=self._clock.left(self._total - self._done)
        )

    def finished(self, label: str, record: Record) -> None:
        """Advance the bar."""
        self._done += 1
        self._clock.add(record)
        self._last = f"{label} {outcome_words(record)}"
        self._bar.update(self._task, completed=self._done)
        if record.status != "done":
            self._bar.console.print(f"{self._last}", markup=False, highlight=False)

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def choose_progress(console: Console, *, quiet: bool) -> Progress:
    """Live on a terminal, plain lines elsewhere."""
    if quiet:
        return Quiet()
    return Live(console) if console.is_terminal else Plain(console)


def outcome_words(record: Record) -> str:
    """How a run came out, in a few words."""
    if record.status != "done":
        return f"{record.status}: {record.reason}"
    headline = get_task(record.cell["task"]).info.headline
    for part, word in (("test", "test"), ("validation", "val")):
        score = record.scores.get(f"{part}_{headline.name}") if headline else None
        if score is not None:
            return f"{word} {score:.3f}"
    return "done"


class _Clock:
    """Time to go, from how long the runs so far took."""

    def __init__(self) -> None:
        self.workers = 1
        self._seconds: list[float] = []

    def add(self, record: Record) -> None:
        """A run has ended."""
        self._seconds.append(float(record.provenance.get("seconds", 0.0)))

    def left(self, left: int) -> str:
        """The time that so many more runs take, in words; empty while nothing is known."""
        if not self._seconds or left <= 0:
            return ""
        seconds = sum(self._seconds) / len(self._seconds) * left / self.workers
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"
