"""Results from where a person points: a results directory, or a published one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moebench.errors import ResultsError, UnknownNameError, UsageError
from moebench.planning.cache import get_plan
from moebench.planning.generations import grown
from moebench.planning.history import board_request, known_suites, name_of
from moebench.planning.plan import Lookup, Plan
from moebench.published.pack import NAME, read_pack
from moebench.runs import Store


@dataclass(frozen=True)
class ResultSet:
    """A plan and the records there are of it, and the directory that they come from."""

    source: Path
    plan: Plan
    lookup: Lookup


def is_published(directory: Path) -> bool:
    """Whether a directory holds a pack, as ``moebench publish`` writes it."""
    try:
        return (directory / NAME).is_file()
    except OSError:  # a name too long for the file system, or a directory that may not be entered
        return False


def named_directory(suite: str) -> Path | None:
    """The published directory that a person names where a suite may be named, too; None where it is a suite.

    :class:`ResultsError` for a path to something else.
    """
    path = Path(suite)
    if is_published(path):
        return path
    if path.suffix == ".toml" or len(path.parts) == 1:
        return None
    if not path.is_dir():
        raise ResultsError(f"there is no directory '{suite}', and no suite has that name.")
    raise unpublished(path)


def unpublished(path: Path) -> ResultsError:
    """What is wrong with a path that is taken for a published directory and is none."""
    if not path.is_dir():
        return ResultsError(f"there is no directory '{path}'.")
    below = sorted(each.name for each in path.iterdir() if is_published(each))
    if below:
        return ResultsError(f"'{path}' is not what `moebench publish` wrote; in it there is: {', '.join(below)}.")
    if (path / "report.md").is_file():
        return ResultsError(f"'{path}' holds a report and no board; it is in '{path / 'report.md'}'.")
    return ResultsError(f"'{path}' holds no {NAME} of `moebench publish`.")


def open_results(directory: Path, suite: str | None = None) -> ResultSet:
    """The results in a directory.

    suite: which one of a results directory (by itself the one that ran last); a published directory has one only, and
    another name is refused. :class:`ResultsError` where there is nothing to read.
    """
    if not directory.is_dir():
        raise ResultsError(f"there is no directory '{directory}'.")
    if not is_published(directory):
        return _of_runs(directory, suite)
    pack = read_pack(directory / NAME)
    if suite is not None and name_of(suite) != pack.plan.suite.name:
        raise UsageError(f"'{directory}' holds suite '{pack.plan.suite.name}', not '{suite}'.")
    return ResultSet(directory, grown(pack.plan, pack.get), pack.get)


def _of_runs(directory: Path, suite: str | None) -> ResultSet:
    known = known_suites(directory)
    if not known:
        which = "no suite has" if suite is None else f"suite '{name_of(suite)}' has not"
        raise ResultsError(f"{which} run into '{directory}' yet, and it holds no {NAME} of `moebench publish`.")
    if suite is not None and name_of(suite) not in known:
        raise UnknownNameError("suite", name_of(suite), known, f"'{directory}'")
    store = Store(directory)
    plan = get_plan(board_request(directory, suite), directory)
    return ResultSet(directory, grown(plan, store.get), store.get)
