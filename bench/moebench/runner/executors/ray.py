"""The executor on a Ray cluster: a task for each run, on whichever node has room; needs ``moebench[ray]``."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from moebench.errors import DeviceError, MoebenchError, UsageError
from moebench.machine import cores
from moebench.records import Cell, Record, Store
from moebench.runner.executors.base import Ended, Tick
from moebench.runner.executors.node import find_mark, leave_mark, measure_here, place_here, run_here
from moebench.runner.job import Job
from moebench.runner.options import RunOptions
from moebench.runner.outcomes import failed
from moebench.runner.stopping import listening
from moebench.training.device import DeviceInfo

OPTIONS = {
    "address": "of a cluster to join, HOST:PORT (RAY_ADDRESS, or else a Ray that is started on this machine)",
    "gpus": "share of a GPU that a run takes, where runs go to GPUs (1 for each of its ranks)",
}

ADDRESS = "RAY_ADDRESS"
"""The variable by which Ray itself names a cluster."""

LOOK_SECONDS = 1.0
"""How often the cluster is asked for its resources: a node that joins is used."""

OBJECTS = 100 << 20
"""Bytes of the object store of a Ray that is started here: it hardly needs one."""


def open_executor(how: RunOptions, threads: int) -> _RayExecutor:
    """The executor of that name."""
    how.check_options(OPTIONS)
    options = how.executor_options
    gpus = _gpus(options.get("gpus", str(how.ranks)))
    started = not ray.is_initialized()
    if started:
        _connect(options.get("address") or os.environ.get(ADDRESS))
    return _RayExecutor(how, threads, gpus, started)


class _RayExecutor:
    """Hands jobs to Ray. What a task does on its node is what ``--executor local`` does, one run at a time.

    started: whether this executor closes the connection. Ray itself retries nothing: a run whose node is lost is given
    back, so that its leases are checked before it is begun again.
    """

    def __init__(self, how: RunOptions, threads: int, gpus: float, started: bool) -> None:
        self._asked, self._threads, self._limits = how.workers, threads, how.limits
        self._gpus, self._started = gpus, started
        self._store, self._mark = Store(how.results), leave_mark(how.results)
        self._device, self._name = "cpu", ""
        self._tasks: dict[Any, Job] = {}
        self._room, self._looked = 0, 0.0

    def place(self, device: str | None) -> DeviceInfo:
        """The first of the nodes' devices by name; a GPU where there is one."""
        found = min(self._places(device).values(), key=lambda place: (place.type != "cuda", place.name))
        self._name = found.name
        return found

    def fit(self, device: str, seconds: float = math.inf) -> int:
        """As many as there are shares of processors, and of GPUs, on the nodes."""
        self._device = device
        self._room = self._count()
        if not self._room:
            share = " and ".join(f"{value:g} {name.removeprefix('num_')}" for name, value in self._share().items())
            raise UsageError(
                f"no node of the Ray cluster has room for one run, which takes {share}.", code="no-room", share=share
            )
        return self._room

    @property
    def running(self) -> Sequence[Job]:
        return list(self._tasks.values())

    def has_room(self) -> bool:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._room = self._count()
        return len(self._tasks) < self._room

    def submit(self, job: Job) -> None:
        options = self._whole_node() if job.alone else self._share()
        task = _task(_on_node, name=job.label, **options)
        self._tasks[task.remote(self._mark, Path.cwd(), run_here, job, self._limits)] = job

    def wait(self, seconds: float) -> list[Ended]:
        if not self._tasks:
            time.sleep(seconds)
            return []
        ray.wait(list(self._tasks), timeout=seconds)
        done, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [(job, self._record_of(task, job)) for task, job in [(task, self._tasks.pop(task)) for task in done]]

    def measure(self, cell: Cell, jobs: Sequence[Job], tick: Tick) -> Record:
        """On a node that has the session's device, with all its processors."""
        self._name = cell.session["device"]
        body = _task(_on_node, name="latency", **self._whole_node())
        task = body.remote(self._mark, Path.cwd(), measure_here, cell, jobs)
        try:
            while not ray.wait([task], timeout=LOOK_SECONDS)[0]:
                tick("latency, on a node of the Ray cluster")
        except BaseException:
            ray.cancel(task)
            raise
        left = _answer(task)
        record = self._store.get(cell.identity)
        if not left or record is None:
            raise UsageError(
                "the node that measured latency was lost; the same command goes on from here.", code="latency-node-lost"
            )
        return record

    def stop(self) -> None:
        for task in self._tasks:
            ray.cancel(task)  # arrives as SIGINT

    def close(self) -> None:
        for task in self._tasks:
            with contextlib.suppress(RayError):
                ray.cancel(task, force=True)
        self._tasks = {}
        self._mark.unlink(missing_ok=True)
        if self._started:
            ray.shutdown()

    def _record_of(self, task: Any, job: Job) -> Record | None:
        try:
            return self._store.get(job.cell.identity) if _answer(task) else None
        except OutOfMemoryError:
            record = failed(job, "oom", "Ray ended it, for its node ran out of memory.")
            self._store.put(record)
            return record
        except RayError:  # its node or process is gone, or it had not begun when it was cancelled
            return None

    def _count(self) -> int:
        self._looked = time.monotonic()
        share = self._share()
        fits = sum(_fits(node["Resources"], share) for node in _nodes().values())
        return fits if self._asked is None else min(fits, self._asked)

    def _share(self) -> dict[str, Any]:
        gpus = {"num_gpus": self._gpus} if self._device.startswith("cuda") else {}
        return {"num_cpus": self._threads, **gpus}

    def _whole_node(self) -> dict[str, Any]:
        """All processors of the first node, by id, with the device that latency is measured on."""
        places = self._places(self._device)
        for node in sorted(places):
            if places[node].name == self._name:
                return self._share() | {
                    "num_cpus": int(_nodes()[node]["Resources"].get("CPU", 1)),
                    "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
                }
        have = ", ".join(sorted({f"'{place.name}'" for place in places.values()}))
        raise DeviceError(
            f"latency is to be measured on '{self._name}', and the nodes of the Ray cluster have {have}; "
            "start a node that has it and give the same command again.",
            code="cluster-lacks-device",
            wanted=self._name,
        )

    def _places(self, device: str | None) -> dict[str, DeviceInfo]:
        """What each node is, by its id; those that cannot be asked, or lack the device, are left out."""
        asked = {}
        for node, about in _nodes().items():
            gpu = device != "cpu" and about["Resources"].get("GPU", 0)
            options = {"num_cpus": 0} | ({"num_gpus": self._gpus} if gpu else {})
            where = NodeAffinitySchedulingStrategy(node, soft=False)
            asked[node] = _task(place_here, scheduling_strategy=where, **options).remote(self._mark, device)
        found = {}
        lacking = DeviceError("no node of the Ray cluster answers; look at it with `ray status`.", code="no-answer")
        for node, task in asked.items():
            try:
                found[node] = _answer(task)
            except DeviceError as error:
                lacking = error
            except RayError:
                continue
        if not found:
            raise lacking
        return found


def _on_node(mark: Path, folder: Path, body: Callable[..., bool], *args: Any) -> bool:
    """A task. folder: where the command was given; relative names of files mean the same on a node that has it."""
    find_mark(mark)
    inside = contextlib.chdir(folder) if folder.is_dir() else contextlib.nullcontext()
    with listening() as stop, inside:
        return body(*args, stop)


def _task(body: Callable[..., Any], **options: Any) -> Any:
    return ray.remote(body).options(max_retries=0, **options)


def _answer(task: Any) -> Any:
    """What a task returned; a MoebenchError that it raised is raised here."""
    try:
        return ray.get(task)
    except RayTaskError as error:
        if isinstance(error.cause, MoebenchError):
            raise error.cause from None
        words = str(error.cause).splitlines() or [""]
        raise UsageError(
            f"a node of the Ray cluster cannot run moebench ({type(error.cause).__name__}: {words[0]}); "
            "install the same version there, with the same packages.",
            code="node-lacks-moebench",
        ) from error


def _fits(has: Mapping[str, float], share: Mapping[str, float]) -> int:
    """How many runs a node has room for."""
    gpus = share.get("num_gpus")
    fits = int(has.get("CPU", 0) // share["num_cpus"])
    return min(fits, int(has.get("GPU", 0) / gpus)) if gpus else fits


def _nodes() -> dict[str, Mapping[str, Any]]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _connect(address: str | None) -> None:
    """Join the cluster at an address, or start one on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init("local", num_cpus=cores(), include_dashboard=False, object_store_memory=OBJECTS, **quiet)
        return
    try:
        _knock(address)
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"cannot join the Ray cluster at '{address}' ({reason}); is it running?", code="no-cluster", address=address
        ) from error


def _knock(address: str) -> None:
    """OSError where nobody listens: Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _gpus(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not share > 0:
        raise UsageError(
            f"--executor-option gpus takes a number above 0, not '{text}'.", code="gpus-not-positive", text=text
        )
    return share
