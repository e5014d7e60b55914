"""What a person sees while a suite runs: a live line on a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import sys
from html import escape
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from moebench.records import Record
from moebench.tasks import get_task

WAITING = "waiting for"
"""How a label begins that says what a run waits for."""


class Progress:
    """Counts runs and prints nothing; what prints them derives from it."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._workers = 1
        self._seconds: list[float] = []

    def start(self, total: int, cached: int, workers: int) -> None:
        """``total`` runs, ``cached`` of them done already, ``workers`` at a time."""
        self._total, self._done, self._workers = total, cached, workers

    def running(self, labels: list[str]) -> None:
        """These are under way now."""

    def finished(self, label: str, record: Record) -> None:
        """One has ended."""
        self._done += 1
        self._seconds.append(float(record.provenance.get("seconds", 0.0)))

    def stop(self) -> None:
        """Nothing more comes."""

    @property
    def time_left(self) -> str:
        """By the mean time of the runs so far; empty while nothing is known."""
        left = self._total - self._done
        if not self._seconds or left <= 0:
            return ""
        seconds = sum(self._seconds) / len(self._seconds) * left / self._workers
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"


class Plain(Progress):
    """A line for each finished run, for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console, self._waits = console, ""

    def running(self, labels: list[str]) -> None:
        """A line once it waits for something else: that may last, and nobody would know why."""
        waits = next((label for label in labels if label.startswith(WAITING)), "")
        if waits and waits != self._waits:
            self._console.print(waits, markup=False, highlight=False, soft_wrap=True)
        self._waits = waits

    def finished(self, label: str, record: Record) -> None:
        """One line: how many of how many, the run and its outcome, and the time left."""
        super().finished(label, record)
        line = f"[{self._done}/{self._total}] {label}  {outcome_words(record)}  {self.time_left}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Live(Progress):
    """A bar, what is running and the time left; runs that failed stay on the screen as lines above it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, left="")
        self._last = ""

    def start(self, total: int, cached: int, workers: int) -> None:
        """Show the bar."""
        super().start(total, cached, workers)
        self._bar.update(self._task, total=total, completed=cached)
        self._bar.start()

    def running(self, labels: list[str]) -> None:
        """Name what runs, and the outcome of the last run."""
        text = ", ".join(labels) or "finishing"
        last = f"   last: {self._last}" if self._last else ""
        self._bar.update(self._task, description=f"{text}{last}", left=self.time_left)

    def finished(self, label: str, record: Record) -> None:
        """Advance the bar."""
        super().finished(label, record)
        self._last = f"{label} {outcome_words(record)}"
        self._bar.update(self._task, completed=self._done)
        if record.status != "done":
            self._bar.console.print(self._last, markup=False, highlight=False)

    def stop(self) -> None:
        """Remove the bar."""
        self._bar.stop()


class InNotebook(Progress):
    """A bar below the cell, what is running and the time left; runs that failed stay as lines above it."""

    def __init__(self) -> None:
        super().__init__()
        self._labels, self._failed = "", list[str]()
        self._shown: Any = None

    def start(self, total: int, cached: int, workers: int) -> None:
        """Show the bar."""
        super().start(total, cached, workers)
        self._show("starting")

    def running(self, labels: list[str]) -> None:
        """Name what runs."""
        if (text := ", ".join(labels) or "finishing") != self._labels:
            self._show(text)

    def finished(self, label: str, record: Record) -> None:
        """Advance the bar."""
        super().finished(label, record)
        if record.status != "done":
            self._failed.append(f"{label}  {outcome_words(record)}")
        self._show(self._labels)

    def stop(self) -> None:
        """Say that nothing runs any more."""
        self._show("")

    def _show(self, text: str) -> None:
        from IPython.display import HTML, display

        self._labels = text
        bar = f'<progress max="{self._total}" value="{self._done}"></progress>'
        words = f"{self._done}/{self._total}  {text}  {self.time_left if text else ''}"
        shown = HTML("<br>".join([*map(escape, self._failed), f"{bar} {escape(words)}"]))
        if self._shown is None:
            self._shown = display(shown, display_id=True)
        else:
            self._shown.update(shown)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules and "IPython" in sys.modules


def choose_progress(console: Console, *, quiet: bool) -> Progress:
    """Live on a terminal, a bar in a notebook, plain lines elsewhere."""
    if quiet:
        return Progress()
    if in_notebook():
        return InNotebook()
    return Live(console) if console.is_terminal else Plain(console)


def outcome_words(record: Record) -> str:
    """The outcome of a run in a few words."""
    if record.status != "done":
        return f"{record.status}: {record.reason}"
    headline = get_task(record.cell["task"]).info.headline
    for part, word in (("test", "test"), ("validation", "val")):
        score = record.scores.get(f"{part}_{headline.name}") if headline else None
        if score is not None:
            return f"{word} {score:.3f}"
    return "done"
