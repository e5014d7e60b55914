"""The ranks of one run: its process is the first, and the others are started beside it, on the same machine."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from moebench.processes import program, surroundings
from moebench.records import Status
from moebench.runner.heartbeat import Heartbeat
from moebench.runner.job import Job
from moebench.runner.outcomes import RankError, exit_words, status_of
from moebench.runner.stopping import ENDED_EARLY
from moebench.training.ranks.shared import joined
from moebench.training.ranks.world import ALONE, World

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore

LOOPBACK = "127.0.0.1"

A_MOMENT = 2.0
"""Seconds in which a rank that failed has reported it or ended, after another has noticed."""

GRACE = 20.0
"""Seconds in which the first rank has to notice that another failed; on a GPU it might wait forever."""

LEAVING = 60.0
"""Seconds in which the others have to end, once the training is over."""


class Agreement(Heartbeat):
    """Stops all ranks in the same step if one of them was asked to stop.

    world: set while they train; then ``stopping`` has to be called by every rank.
    """

    def __init__(self, own: Heartbeat) -> None:
        self._own = own
        self.world: World = ALONE

    def stopping(self) -> bool:
        """Whether one of them was asked to stop."""
        return self.world.any(self._own.stopping())

    def alive(self) -> None:
        """Shows that this rank lives."""
        self._own.alive()


@dataclass(frozen=True)
class Seat:
    """What a rank is started with. port: where the first one waits for it. owner: process id of the first one."""

    job: Job
    rank: int
    port: int
    owner: int

    @property
    def failure(self) -> str:
        """The key under which it reports why it failed."""
        return f"failure/{self.rank}"


def device_of(job: Job, rank: int = 0) -> torch.device:
    """The device of a rank: on GPUs the job's for the first, the next ones for the others."""
    device = torch.device(job.device)
    return device if device.type == "cpu" or job.ranks == 1 else torch.device("cuda", (device.index or 0) + rank)


def meeting(port: int) -> TCPStore:
    """The store by which ranks meet: at that port, or for 0 served by this process at a free port, to this machine."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # which not every torch has

    store: TCPStore
    if port:
        store = TCPStore(LOOPBACK, port, wait_for_workers=False)
    else:
        own = socket.create_server((LOOPBACK, 0))  # given none, the store would listen to every network
        port = own.getsockname()[1]
        store = TCPStore(LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=own.detach())
    return store


@contextmanager
def opened(job: Job, device: torch.device, heard: Agreement) -> Iterator[World]:
    """The world that a run trains in, this process the first of it; the others are gone when the block is left.

    :class:`RankError` where one of them failed and this one could not go on.
    """
    if job.ranks == 1:
        yield ALONE
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback_name())
    store = meeting(0)
    others = _Others([Seat(job, rank, store.port, os.getpid()) for rank in range(1, job.ranks)])
    try:
        with joined(device, store, 0, job.ranks) as heard.world:
            try:
                yield heard.world
            except Exception as error:
                other = others.failure(within=A_MOMENT)
                if other is None or _alike(other, *status_of(error)):
                    raise
                raise other from error
        others.leave()
    finally:
        heard.world = ALONE
        others.end()


def _alike(other: RankError, status: Status, reason: str) -> bool:
    """Whether another rank failed as this one did; without memory, each names its own."""
    return other.status == status and (status == "oom" or other.reason == reason)


def _loopback_name() -> str:
    """The interface that gloo is to use; its default is that of the host's name."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")


class _Others:
    """The processes of all ranks but the first. They end with :meth:`end`, or with this process."""

    def __init__(self, seats: list[Seat]) -> None:
        # A connection of its own: another may be waiting for something on the first one's.
        self._news = meeting(seats[0].port)
        self._processes = [(seat, _started(seat)) for seat in seats]
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def failure(self, within: float) -> RankError | None:
        """Which rank failed and why, waiting up to so many seconds for the first."""
        give_up = time.monotonic() + within
        while True:
            for seat, process in self._processes:
                if found := self._failed(seat, process):
                    return found
            if time.monotonic() >= give_up:
                return None
            time.sleep(0.05)

    def leave(self) -> None:
        """Wait until all have ended."""
        give_up = time.monotonic() + LEAVING
        for _, process in self._processes:
            try:
                process.wait(max(0.0, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                return

    def end(self) -> None:
        """End them now."""
        self._over.set()
        for _, process in self._processes:
            process.kill()
            process.wait()

    def _failed(self, seat: Seat, process: subprocess.Popen[bytes]) -> RankError | None:
        if self._news.check([seat.failure]):
            return RankError(seat.rank, *json.loads(self._news.get(seat.failure)))
        code = process.poll()
        if code in (None, 0, ENDED_EARLY):
            return None
        status, words = exit_words(code)
        return RankError(seat.rank, status, f"it {words}.")

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            failed = self.failure(within=0.0)
            if failed and not self._over.wait(GRACE):
                print(failed, flush=True)  # the last line of the log is the reason of a run that leaves no record
                os._exit(1)


def _started(seat: Seat) -> subprocess.Popen[bytes]:
    # Not by the fork server, whose processes may not start others. It prints into the log of the run, and stands where
    # this process does.
    process = subprocess.Popen(program("moebench.runner.rank"), stdin=subprocess.PIPE, env=surroundings())
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(pickle.dumps(seat))
    return process
