"""Results from where a person points: a results directory or a published one; their boards, and taking records over."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from moebench.board import Board, ResultSet, Verification, build_board, read_board
from moebench.board.compare import Comparison, compare
from moebench.errors import MoebenchError, ResultsError, UnknownNameError, UsageError
from moebench.plans.cache import get_plan
from moebench.plans.generations import grown
from moebench.plans.history import find_request, known_suites, name_of, ran_plan
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Group, Lookup, Plan
from moebench.publish.manifest import NAME as MANIFEST
from moebench.publish.manifest import Manifest, file_of, read_manifest, read_verification, sha256
from moebench.publish.pack import NAME, Pack, read_pack
from moebench.records import Cell, Record, Store, is_settled


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

    suite: which one of a results directory (default: the one that ran last); a published directory has one only, and
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
    request = find_request(directory, suite or known[0])
    if request is None:
        raise UnknownNameError("suite", name_of(str(suite)), known, f"'{directory}'")
    store = Store(directory)
    plan = get_plan(request, directory)
    return ResultSet(directory, grown(plan, store.get), store.get)


def published_board(directory: Path) -> Board:
    """The board of a directory that ``moebench publish`` wrote, made from its records."""
    return board_of(open_results(directory))


def board_of(results: ResultSet) -> Board:
    """The board of records from a published directory, with what was run again of these very records."""
    try:
        board = build_board(results.plan, results.lookup)
    except MoebenchError:
        raise
    except Exception as error:  # anyone may have written them
        raise ResultsError(
            f"no board can be made of the records in '{results.source}' ({type(error).__name__}: {error}); "
            f"`moebench verify {results.source}` says more."
        ) from error
    seen = read_verification(results.source)
    if seen is not None and seen.records != sha256((results.source / NAME).read_bytes()):
        seen = None
    return dataclasses.replace(board, verification=seen)


def load_board(
    suite: str | Path | None = None,
    results: str | Path = "results",
    *,
    seeds: int | None = None,
    trials: int | None = None,
) -> Board:
    """The board of a suite as it last ran, or of a published directory.

    suite: a name, the path of a suite's file, a directory of ``moebench publish``, or None for the suite that ran last.
    ``seeds`` and ``trials`` instead of those it last ran with, as on the command line.
    """
    directory = None if suite is None else named_directory(str(suite))
    if directory is not None:
        return published_board(directory)
    return read_board(Store(Path(results)), None if suite is None else str(suite), seeds, trials)


def compare_directories(a: str | Path, b: str | Path, suite: str | None = None) -> Comparison:
    """Compare what two directories hold; ``suite`` as for :func:`open_ran`, by default that of A."""
    first = open_ran(Path(a), suite)
    return compare(first, open_ran(Path(b), first.plan.suite.name))


def open_ran(directory: Path, suite: str | None = None) -> ResultSet:
    """The results in a directory as they ran: by the plan that ran, not by one made today.

    Today's plan has the identities of today's code, and finds nothing of what ran before a change of it. A directory
    from before plans were kept gets today's.
    """
    plan = None if is_published(directory) else ran_plan(directory, suite)
    if plan is None:
        return open_results(directory, suite)
    store = Store(directory)
    return ResultSet(directory, grown(plan, store.get), store.get)


def reuse(directory: Path, store: Store) -> int:
    """Copy the records of a published directory that the store lacks, or has only as runs to be tried again; returns
    how many.

    Those of the pack's own plan: others are nobody's to check, and would wait here for the suite that asks for them.
    Weights are not published, so there are none of them.
    """
    pack = read_pack(directory / NAME)
    records = filter(None, map(pack.get, expected(pack.plan, pack.get)))
    missing = [record for record in records if not is_settled(store.get(record.identity))]
    for record in missing:
        store.put(record)
    return len(missing)


def expected(plan: Plan, lookup: Lookup) -> list[str]:
    """Identities of all runs of a plan: trials, finals of the winners, latency sessions."""
    training = [cell.identity for group in plan.groups for cell in (*group.trial_cells, *group.final_cells(lookup))]
    return list(dict.fromkeys([*training, *(cell.identity for cell in latency_cells(plan, lookup))]))


@dataclass(frozen=True)
class Submission:
    """A directory whose records could be read, before anything of it is believed. data: where data sets lie here."""

    directory: Path
    manifest: Manifest
    pack: Pack
    data: Path | None = None

    @classmethod
    def read(cls, directory: Path, data: Path | None = None) -> Submission:
        """:class:`ResultsError` where manifest or records cannot be read at all."""
        if not (directory / MANIFEST).exists() and not is_published(directory):
            raise unpublished(directory)
        return cls(directory, read_manifest(directory), read_pack(directory / NAME), data)

    @property
    def plan(self) -> Plan:
        """The plan of its records."""
        return self.pack.plan

    @property
    def verification(self) -> Verification | None:
        """What it says was run again."""
        return read_verification(self.directory)

    @property
    def results(self) -> ResultSet:
        """As boards are made of it."""
        return ResultSet(self.directory, self.plan, self.pack.get)

    @cached_property
    def training(self) -> dict[str, tuple[Group, Cell]]:
        """Every planned trial and final by identity, with its study."""
        return {
            cell.identity: (group, cell)
            for group in self.plan.groups
            for cell in (*group.trial_cells, *group.final_cells(self.pack.get))
        }

    def trained(self) -> list[tuple[Group, Record]]:
        """The records of trials and finals that are there, with their study, in the order of the plan."""
        found = ((group, self.pack.get(identity)) for identity, (group, _) in self.training.items())
        return [(group, record) for group, record in found if record is not None]

    def spec(self, row: str) -> str:
        """Where a row's variant is found: a name, or a file of the directory."""
        spec = self.plan.row(row).spec
        return spec if file_of(spec) is None else str(self.directory / spec)
