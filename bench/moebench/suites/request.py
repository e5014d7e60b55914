"""What a person asked for: the suites of a file with the changes of the command line, resolved once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moebench.errors import DataError, SuiteError, UsageError
from moebench.protocol import PROTOCOL, label
from moebench.suites import Experiment, Suite, load_experiment
from moebench.suites.schema import MOST
from moebench.tasks import Task
from moebench.training.device import DeviceInfo

CHANGEABLE = ("seeds", "trials", "micro_batch")
"""What the command line may change of a suite."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One suite as it is to be run. suite: with the changes applied; protocol: the harness's, and what was changed.

    named: the suite's name or file, as it was given. variants: rows to run (names or ``path.py:Class``); empty means
    all of the suite. seeds, trials, micro_batch: what was asked instead of the suite's; they change the protocol, so
    that such rows never mix with others. extras: rows beside the suite's, from earlier runs into the same results.
    without_data: whether it is only looked at, so that a missing data set has an empty digest. full: in its full form.
    optional: whether it is left out where its data set is not there. place: where it is to
    run, if that is not this machine.
    """

    suite: Suite
    protocol: str
    named: str
    variants: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    seeds: int | None = None
    trials: int | None = None
    micro_batch: int | None = None
    full: bool = False
    optional: bool = False
    device: str | None = None
    backend: str | None = None
    data: Path | None = None
    without_data: bool = False
    place: DeviceInfo | None = None


@dataclass(frozen=True)
class Asked:
    """An experiment, and a request for each of its suites."""

    experiment: Experiment
    requests: tuple[Request, ...]


def ask(asked: str | Experiment, **options: Any) -> Asked:
    """Resolve what was asked for by a name, a file, or an experiment that was read from one.

    ``options`` are fields of :class:`Request`. :class:`UsageError` or :class:`SuiteError` for those that the experiment
    does not take.
    """
    for name in CHANGEABLE:
        value = options.get(name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {value}.", code="count-too-small")
        if value is not None and name != "micro_batch" and value > MOST:
            raise UsageError(f"--{name} must be at most {MOST}, not {value}.", code="count-too-large")
    experiment = load_experiment(asked) if isinstance(asked, str) else asked
    if options.get("full") and not any(suite.has_full_form for suite in experiment.suites):
        raise UsageError(f"suite '{experiment.called}' has one form only; leave --full out.", code="one-form-only")
    if all(suite.tuning is None for suite in experiment.suites):
        given = {"--variant": "variants", "--trials": "trials", "--micro-batch": "micro_batch"}
        if wrong := next((option for option, name in given.items() if options.get(name)), None):
            raise UsageError(
                f"suite '{experiment.called}' sweeps fixed settings and tunes nothing; leave {wrong} out.",
                code="option-without-tuning",
            )
    requests = (
        request_for(suite, named=name, optional=name in experiment.optional, **options)
        for suite, name in zip(experiment.suites, experiment.named, strict=True)
    )
    return Asked(experiment, tuple(requests))


def request_for(
    definition: Suite, *, named: str = "", full: bool = False, data: Path | None = None, **options: Any
) -> Request:
    """The request for one suite; ``options`` are fields of :class:`Request`."""
    changed = _changed(definition, full=full, **{name: options.get(name) for name in CHANGEABLE})
    then, now = changeable(definition), changeable(changed)
    # Only the rows of a board must not mix; what has fixed settings is found by its cells.
    differs = {name: value for name, value in now.items() if value and value != then[name]} if definition.tuning else {}
    return Request(
        suite=changed,
        protocol=label(PROTOCOL, differs),
        named=named or definition.name,
        full=full,
        data=data.resolve() if data else None,
        **options | {name: tuple(options.get(name, ())) for name in ("variants", "extras")},
    )


def _changed(suite: Suite, *, full: bool, seeds: int | None, trials: int | None, micro_batch: int | None) -> Suite:
    """The suite with the changes applied."""
    if micro_batch is not None and any("micro_batch" in entry.training for entry in suite.task):
        raise SuiteError(
            f"suite '{suite.name}' fixes micro_batch for a task; leave --micro-batch out.", code="micro-batch-fixed"
        )
    tuning, training = suite.tuning, suite.training
    return suite.model_copy(
        update={
            "seeds": seeds or (full and suite.full_seeds) or suite.seeds,
            "tuning": tuning and tuning.model_copy(update={"trials": trials or tuning.trials}),
            "training": training.model_copy(update={"micro_batch": micro_batch or training.micro_batch}),
        }
    )


def digest_of(task: Task, request: Request) -> str:
    """The digest of a task's data; empty where they are not here and the request does without."""
    try:
        return task.digest(request.data)
    except DataError as error:
        if not request.without_data or error.code != "data-missing":
            raise
        return ""


def changeable(suite: Suite) -> dict[str, int | None]:
    """What the command line may change, by the option's name."""
    return {
        "seeds": suite.seeds,
        "trials": suite.tuning.trials if suite.tuning else None,
        "micro_batch": suite.training.micro_batch,
    }
