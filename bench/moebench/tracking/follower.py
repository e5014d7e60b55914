"""What a run of an experiment tells of itself to MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from moebench.planning.plan import Plan
from moebench.runs import Record, Store
from moebench.tracking.ledger import Ledger
from moebench.tracking.write import needs_sync
from moebench.tracking.writer import Writer

SETTLE_SECONDS = 60.0
FINISH_SECONDS = 120.0


class Follower:
    """Writes MLflow as runs finish, if ``enabled``; ``finish`` sees to what is missing anyway.

    As a context manager it lets its process go at the end, whatever happened inside.
    """

    def __init__(self, results: Path, plans: Sequence[Plan], *, enabled: bool) -> None:
        self._results = results
        self._writer = Writer(results, plans)
        if enabled:
            self._writer.start()

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def problems(self) -> tuple[str, ...]:
        """The sentence that says what could not be written, if anything."""
        return (self._writer.problem,) if self._writer.problem else ()

    def record(self, record: Record) -> None:
        """A run has finished."""
        self._writer.record(record.identity)

    def settle(self) -> None:
        """Wait until nothing is being written, so that latency is measured on a quiet machine."""
        self._writer.flush(SETTLE_SECONDS)

    def close(self) -> None:
        """Nothing more comes. The process writes what has finished, and ends; nobody waits for it."""
        self._writer.end()

    def finish(self, plans: Sequence[Plan], store: Store, report: Path | None) -> None:
        """Write the boards, the report and whatever else is missing, and wait for it; best before ``close``.

        A process is started only if none runs and something is missing.
        """
        self._close(report)
        ledger = Ledger(self._results)
        if not self._writer.problem and any(needs_sync(plan, store, ledger, report) for plan in plans):
            self._writer = Writer(self._results, plans)
            self._writer.start()
            self._close(report)

    def _close(self, report: Path | None) -> None:
        if report is not None:
            self._writer.report(report)
        self._writer.close(FINISH_SECONDS)
