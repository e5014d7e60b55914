"""The order in which work is handed out; other processes may work through the same list."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from moebench.plans.plan import Lookup, Work
from moebench.records import Record, is_settled
from moebench.records.leases import Leases


class Queue:
    """Work that waits, and work that other processes hold. known: all work so far, by identity."""

    def __init__(self, lookup: Lookup, leases: Leases) -> None:
        self._lookup, self._leases = lookup, leases
        self._waiting: deque[Work] = deque()
        self._elsewhere: dict[str, Record | None] = {}
        self._found: list[tuple[Work, Record]] = []
        self.known: dict[str, Work] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        return not self._waiting and not self._elsewhere

    @property
    def elsewhere(self) -> int:
        """How many runs other processes hold."""
        return len(self._elsewhere)

    def add(self, works: Iterable[Work]) -> None:
        """Take in what is new and not settled."""
        for work in works:
            identity = work.cell.identity
            if identity not in self.known and not is_settled(self._lookup(identity)):
                self.known[identity] = work
                self._waiting.append(work)

    def again(self, work: Work) -> None:
        """Put back what was given back."""
        self._waiting.append(work)

    def held(self, work: Work) -> bool:
        """Whether another process works on it."""
        return self._leases.held_by_another(work.cell.identity)

    def next(self) -> Work | None:
        """The next work that no other process has done or holds."""
        while self._waiting:
            work = self._waiting.popleft()
            record = self._lookup(work.cell.identity)
            if record is not None and record.settled:
                self._found.append((work, record))
            elif self.held(work):
                self._elsewhere[work.cell.identity] = record
            else:
                return work
        return None

    def ended(self) -> list[tuple[Work, Record]]:
        """What others have ended since the last call; what they released without a record waits again."""
        for identity, before in list(self._elsewhere.items()):
            record, work = self._lookup(identity), self.known[identity]
            if not is_settled(record):
                if self.held(work):
                    continue
                record = self._lookup(identity)  # it may have ended between the two
            del self._elsewhere[identity]
            if record is None or record == before:
                self._waiting.appendleft(work)
            else:
                self._found.append((work, record))
        found, self._found = self._found, []
        return found
