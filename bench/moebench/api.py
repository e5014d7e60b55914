"""The Python API: what the command line does, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from moebench.board import Board
from moebench.board.compare import Comparison
from moebench.checks.outcome import CheckReports
from moebench.checks.run import run_checks
from moebench.contract import Variant
from moebench.errors import UsageError
from moebench.experiment import run_experiment
from moebench.hosts.host import Host
from moebench.plugins.load import verify
from moebench.plugins.modules import refuse_module
from moebench.publish import compare_directories
from moebench.records.find import find_record
from moebench.runner.not_done import not_done
from moebench.runner.options import RunOptions
from moebench.runner.progress import choose_progress
from moebench.runner.stopping import Interrupted
from moebench.runner.trained import load_trained
from moebench.suites import load_experiment
from moebench.suites.request import ask
from moebench.summary import opening
from moebench.text import plain_console
from moebench.training.device import choose_device

__all__ = ["check", "compare", "load_model", "run"]


def run(
    suite: str,
    variants: str | Sequence[str | Variant | type] = (),
    *,
    seeds: int | None = None,
    trials: int | None = None,
    micro_batch: int | None = None,
    device: str | None = None,
    backend: str | None = None,
    data: str | Path | None = None,
    results: str | Path = "results",
    executor: str = "local",
    workers: int | None = None,
    mlflow: bool = True,
    save_weights: bool = True,
    check: bool = True,
    quiet: bool = False,
) -> Board:
    """Train what is missing of a suite and return its board, as ``moebench run`` does.

    variants: rows to run, dense beside them; names, ``path.py:Class``, or variants themselves (of :func:`wrap`, or
    a class of your own); empty means all of the suite. A row that could not be run is on the board with its reason.
    Raises a :class:`moebench.errors.MoebenchError` for wrong use.
    """
    variants = (variants,) if isinstance(variants, str) else variants
    counts = {"seeds": seeds, "trials": trials, "micro_batch": micro_batch, "workers": workers}
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}.", code="no-count", name=name)
    objects = _objects(variants)
    experiment = load_experiment(suite)
    experiment.ranked()
    asked = ask(
        experiment,
        variants=(*(spec for spec in variants if isinstance(spec, str)), *objects),
        seeds=seeds,
        trials=trials,
        micro_batch=micro_batch,
        device=device,
        backend=backend,
        data=Path(data) if data else None,
    )
    how = RunOptions(
        results=Path(results),
        executor=executor,
        workers=workers,
        mlflow=mlflow,
        save_weights=save_weights,
        check=check,
    )
    console = plain_console(stderr=True)
    if not quiet:
        console.print(f"{suite}  planning: each layer is built and takes one step")
    progress = choose_progress(console, quiet=quiet)
    try:
        ran = run_experiment(asked, how, progress, on_plan=None if quiet else opening(console), objects=objects)
    except Interrupted as stopped:
        given = {
            **counts,
            "device": device,
            "backend": backend,
            "data": data,
            "results": None if str(results) == "results" else results,
            "executor": None if executor == "local" else executor,
            "mlflow": None if mlflow else False,
            "check": None if check else False,
            "save_weights": None if save_weights else False,
            "quiet": quiet or None,
        }
        call = _call(suite, variants, {name: value for name, value in given.items() if value is not None})
        done = str(stopped).partition(";")[0]
        raise Interrupted(f"{done}; the same call goes on from here: {call}", stopped.signum) from None
    if ran.unfinished and not quiet:
        console.print(not_done(ran.unfinished, ran.frames), soft_wrap=True)
    return ran.board


def _call(suite: str, variants: Sequence[str | Variant | type], given: Mapping[str, object]) -> str:
    """The Python call that goes on."""
    names = [repr(each) if isinstance(each, str) else _name(each) for each in variants]
    words = [repr(suite), *([f"variants=[{', '.join(names)}]"] if names else [])]
    words += [
        f"{name}={str(value)!r}" if isinstance(value, Path) else f"{name}={value!r}" for name, value in given.items()
    ]
    return f"run({', '.join(words)})"


def _name(variant: Variant | type) -> str:
    """As it is likely called where the call was made."""
    return variant.__name__ if isinstance(variant, type) else variant.name


def check(*variants: str | Variant | type) -> CheckReports:
    """Hold variants to the contract, as ``moebench check`` does; one report each."""
    return CheckReports(map(run_checks, variants))


def compare(a: str | Path, b: str | Path, suite: str | None = None) -> Comparison:
    """Which rows of B are better or worse than in A, as ``moebench compare`` says; directories of results, or published
    ones.
    """
    return compare_directories(a, b, suite)


def load_model(record: str, *, results: str | Path = "results", device: str | None = None) -> Host:
    """The trained model of a final run, in evaluation mode: for ``subset_inference`` and questions of your own.

    record: its identity, the beginning of one, or the path of its JSON file. Raises a
    :class:`moebench.errors.MoebenchError` where there is no such run, or nothing was kept of it.
    """
    store, found = find_record(record, Path(results))
    return load_trained(store, found, choose_device(device))


def _objects(variants: Sequence[str | Variant | type]) -> dict[str, Variant]:
    """The variants given as objects, by name; a class stands for its instance."""
    objects: dict[str, Variant] = {}
    for given in variants:
        if not isinstance(given, str):
            refuse_module(given.__name__ if isinstance(given, type) else type(given).__name__, given)
            variant = given() if isinstance(given, type) else given
            verify(type(variant).__name__, variant)
            objects[variant.name] = variant
    return objects
