"""What was last asked of each suite in a results directory, so that a board can be read without repeating it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

from moebench.errors import MoebenchError, ResultsError, UsageError
from moebench.files import LARGE, read_text
from moebench.plans.plan import Plan
from moebench.plans.rows import find_spec
from moebench.records.store import write_atomic
from moebench.suites import Experiment, find_suites, load_experiment, load_suite
from moebench.suites.request import Request, ask

RAN = "ran.json"
"""The plan of the last run, beside ``latest.json``, its request."""


def remember(request: Request, results: Path, objects: Collection[str] = (), *, unusable: Collection[str] = ()) -> None:
    """Keep the request; its variants from files and other packages become rows of later boards.

    ``objects`` are names of variants that were given as Python objects: nothing can find them again. ``unusable`` are
    specs of variants that could not be used at all: a mistake, which is no row of later boards.
    """
    suite, named = request.suite, request.named
    own = {*suite.variants, *(each.name for each in suite.named), *suite.ladder_rows, *objects}
    values = {
        "suite": str(Path(named).expanduser().resolve()) if _is_file(named) else named,
        "extras": sorted({*request.extras, *_added(request, own, unusable)}),
        "seeds": request.seeds,
        "trials": request.trials,
        "micro_batch": request.micro_batch,
        "full": request.full,
        "device": request.device,
        "backend": request.backend,
        "data": str(request.data) if request.data else None,
    }
    write_atomic(_path(results, suite.name), (json.dumps(values, indent=1) + "\n").encode())


def _added(request: Request, own: Collection[str], unusable: Collection[str]) -> list[str]:
    specs = [find_spec(spec) for spec in request.variants if spec not in own]
    return [spec for spec in specs if spec not in unusable]


def remember_plan(plan: Plan, results: Path) -> None:
    """Keep the plan as it runs: once the code has changed, no other plan leads to these records."""
    write_atomic(results / plan.suite.name / RAN, f"{json.dumps(plan.to_json(), separators=(',', ':'))}\n".encode())


def ran_plan(results: Path, suite: str | None = None) -> Plan | None:
    """The plan that a suite (a name or a file; None: the last one) last ran by; None where none was kept."""
    known = known_suites(results)
    name = name_of(suite) if suite is not None else next(iter(known), "")
    path = results / name / RAN
    if name not in known or not path.is_file():
        return None
    try:
        return Plan.from_json(json.loads(read_text(path, LARGE)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ResultsError(
            f"'{path}' cannot be read; run the suite again, nothing else is lost.", code="plan-unreadable"
        ) from None


def remembered_extras(results: Path, suite: str) -> tuple[str, ...]:
    """Rows that earlier runs added to the suite's."""
    return tuple(_read(_path(results, suite)).get("extras", ()))


def name_of(suite: str) -> str:
    """The name of a suite that is given by its name or its file; :class:`UsageError` for another path."""
    return _named(suite)[0]


def _named(suite: str) -> tuple[str, Experiment | None]:
    """The name, and what its file says where it was given by its file."""
    path = Path(suite)
    if _is_file(suite):
        experiment = load_experiment(suite) if path.expanduser().is_file() else None
        return experiment.name if experiment else path.stem, experiment
    if len(path.parts) > 1:
        raise UsageError(
            f"'{suite}' is neither a suite's name, nor its .toml file, nor what `moebench publish` wrote.",
            code="neither-suite-nor-directory",
        )
    return suite, None


def _is_file(suite: str) -> bool:
    return suite.endswith(".toml")


def known_suites(results: Path) -> list[str]:
    """Names of the suites that have run here, the last one first."""
    paths = sorted(results.glob("*/latest.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in paths]


def board_pages(results: Path) -> list[Path]:
    """The pages of all boards, those of the suite that ran last first."""
    return [page for name in known_suites(results) for page in sorted((results / name).rglob("board.html"))]


def board_request(results: Path, suite: str | None, seeds: int | None = None, trials: int | None = None) -> Request:
    """The request whose board is wanted: of the suite named, or of the last one that ran, as it last ran.

    :class:`ResultsError` where it has not run; a sentence of its own where there is no such suite, or it has no board.
    """
    known = known_suites(results)
    if suite is None and not known:
        raise ResultsError(
            f"no suite has run into '{results}' yet; run one with `moebench run quick`.", code="nothing-run-yet"
        )
    suite = suite or known[0]
    request = find_request(results, suite, seeds, trials)
    if request is None:
        load_suite(suite)  # whose sentence comes first
        raise ResultsError(
            f"suite '{suite}' has not run into '{results}' yet; run it with `moebench run {shlex.quote(suite)}`.",
            code="not-run-yet",
        )
    return request


def remember_suites(results: Path) -> list[Request]:
    """The requests by which suites last ran here. Reading them tells this process where their plug-ins are found."""
    found = []
    for name in known_suites(results):
        with contextlib.suppress(MoebenchError):  # the suite's file is gone, or one of its plug-ins
            if request := find_request(results, name):
                found.append(request)
    return found


def find_request(results: Path, suite: str, seeds: int | None = None, trials: int | None = None) -> Request | None:
    """The request by which a suite last ran; None where it has not."""
    name, experiment = _named(suite)
    values = _read(_path(results, name))
    if not values:
        return None
    named, data = values.pop("suite"), values.pop("data")
    if experiment is None:
        experiment = load_experiment(named)
    changed = {"seeds": seeds, "trials": trials} if seeds or trials else {}
    asked = ask(experiment, **(values | changed), data=Path(data) if data else None)
    return next(request for request in asked.requests if request.suite.name == name)


def file_of(results: Path, suite: str) -> str:
    """The file of a suite of one's own that has run here, given by its name; else what was given."""
    if _is_file(suite) or suite in find_suites():
        return suite
    return str(_read(_path(results, suite)).get("suite", suite))


def board_directory(results: Path, suite: str, protocol: str) -> Path:
    """Where the board's pages lie: the suite's folder, or one inside it for a changed protocol."""
    changes = re.sub(r"[^a-z0-9=]+", "-", protocol.partition(" ")[2].lower()).strip("-")
    return results / suite / changes if changes else results / suite


def _path(results: Path, suite: str) -> Path:
    return results / suite / "latest.json"


def _read(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name that no file can have
        return {}
    try:
        values = json.loads(read_text(path, LARGE))
    except (OSError, ValueError, RecursionError):
        raise UsageError(
            f"'{path}' cannot be read; remove it and run the suite again, nothing else is lost.",
            code="history-unreadable",
        ) from None
    return dict(values)
