"""Results of a results directory or a published one, their boards, and copying published records."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from moebench.board import Board, ResultSet, Verification, build_board, read_board
from moebench.board.compare import Comparison, compare
from moebench.board.worth import is_shown
from moebench.errors import MoebenchError, ResultsError, UnknownNameError, UsageError
from moebench.files import LARGE, read_bytes
from moebench.plans.cache import get_plan
from moebench.plans.generations import grown
from moebench.plans.history import find_request, known_suites, name_of, ran_plan
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Group, Lookup, Plan
from moebench.protocol import PROTOCOL, protocol_of
from moebench.publish.brought import brought_directory
from moebench.publish.manifest import NAME as MANIFEST
from moebench.publish.manifest import Manifest, file_of, read_manifest, read_verification, sha256
from moebench.publish.pack import NAME, Pack, read_pack
from moebench.records import Cell, Record, Store, is_settled
from moebench.records.conformance import NOT_CHECKED
from moebench.runner.job import Job
from moebench.text import told


def is_published(directory: Path) -> bool:
    """Whether a directory holds a pack, as ``moebench publish`` writes it."""
    try:
        return (directory / NAME).is_file()
    except OSError:  # a name too long for the file system, or a directory that may not be entered
        return False


def named_directory(suite: str) -> Path | None:
    """The published directory that a person names where a suite may be named, too, also as ``published:SUITE``; None
    where it is a suite. :class:`ResultsError` for a path to something else, or no such board.
    """
    if (brought := brought_directory(suite)) is not None:
        return brought
    path = Path(suite)
    if is_published(path):
        return path
    if path.suffix == ".toml" or len(path.parts) == 1:
        return None
    if not path.is_dir():
        raise ResultsError(
            f"there is no directory '{suite}', and no suite has that name.", code="no-directory-or-suite", name=suite
        )
    raise unpublished(path)


def unpublished(path: Path) -> ResultsError:
    """What is wrong with a path that should be a published directory."""
    if not path.is_dir():
        return no_directory(path)
    below = sorted(each.name for each in path.iterdir() if is_published(each))
    if below:
        names = ", ".join(below)
        sentence = f"'{path}' is not what `moebench publish` wrote; in it there is: {names}."
        return ResultsError(sentence, code="boards-are-below", directory=path, names=below)
    if (path / "report.md").is_file():
        sentence = f"'{path}' holds a report and no board; it is in '{path / 'report.md'}'."
        return ResultsError(sentence, code="report-without-board", directory=path)
    return ResultsError(f"'{path}' holds no {NAME} of `moebench publish`.", code="not-published", directory=path)


def no_directory(path: Path) -> ResultsError:
    """For a path that is no directory."""
    return ResultsError(f"there is no directory '{path}'.", code="no-directory", directory=path)


def open_results(directory: Path, suite: str | None = None) -> ResultSet:
    """The results in a directory, which may be ``published:SUITE``.

    suite: which one of a results directory (default: the one that ran last); a published directory has one only, and
    another name is refused. :class:`ResultsError` where there is nothing to read.
    """
    directory = brought_directory(str(directory)) or directory
    if not directory.is_dir():
        raise no_directory(directory)
    if not is_published(directory):
        return _of_runs(directory, suite)
    pack = read_pack(directory / NAME)
    if suite is not None and name_of(suite) != pack.plan.suite.name:
        raise UsageError(
            f"'{directory}' holds suite '{pack.plan.suite.name}', not '{suite}'.", code="another-suite", suite=suite
        )
    return ResultSet(directory, grown(pack.plan, pack.get), pack.get)


def _of_runs(directory: Path, suite: str | None) -> ResultSet:
    known = known_suites(directory)
    if not known:
        which = "no suite has" if suite is None else f"suite '{name_of(suite)}' has not"
        raise ResultsError(
            f"{which} run into '{directory}' yet, and it holds no {NAME} of `moebench publish`.",
            code="nothing-ran",
            directory=directory,
        )
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
    """The board of records from a published directory, with their re-runs."""
    try:
        current = protocol_of(results.plan.protocol) == PROTOCOL
        conformance = read_manifest(results.source).conformance if current else NOT_CHECKED
        board = build_board(results.plan, results.lookup, conformance=conformance, published=current)
    except MoebenchError:
        raise
    except Exception as error:  # anyone may have written them
        raise ResultsError(
            f"no board can be made of the records in '{results.source}' ({told(error)}); "
            f"`moebench verify {shlex.quote(str(results.source))}` says more.",
            code="no-board-of-records",
            directory=results.source,
        ) from error
    seen = read_verification(results.source)
    if seen is not None and seen.records != sha256(read_bytes(results.source / NAME, LARGE)):
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

    suite: a name, the path of a suite's file, a directory of ``moebench publish``, ``published:SUITE`` for the board
    that moebench brings, or None for the suite that ran last.
    ``seeds`` and ``trials`` instead of those it last ran with, as on the command line.
    """
    return board_in(Store(Path(results)), None if suite is None else str(suite), seeds, trials)


def board_in(store: Store, suite: str | None, seeds: int | None = None, trials: int | None = None) -> Board:
    """As :func:`load_board`; afterwards ``store.damaged`` lists the records that could not be read."""
    directory = None if suite is None else named_directory(suite)
    return read_board(store, suite, seeds, trials) if directory is None else published_board(directory)


def compare_directories(a: str | Path, b: str | Path, suite: str | None = None) -> Comparison:
    """Compare what two directories hold; ``suite`` as for :func:`open_ran`, by default that of A."""
    first = open_ran(Path(a), suite)
    return compare(first, open_ran(Path(b), first.plan.suite.name))


def open_ran(directory: Path, suite: str | None = None) -> ResultSet:
    """The results in a directory by the plan that ran, or by one made today where none was kept.

    Today's plan has the identities of today's code, and finds nothing of what ran before a change of it.
    """
    brought = brought_directory(str(directory))
    plan = None if brought or is_published(directory) else ran_plan(directory, suite)
    if plan is None:
        return open_results(directory, suite)
    store = Store(directory)
    return ResultSet(directory, grown(plan, store.get), store.get)


def reuse(directory: Path, store: Store) -> int:
    """Copy the records of a pack's plan that the store lacks or has no result of; returns how many.

    Weights are not published. :class:`ResultsError` for a directory that is not published.
    """
    directory = brought_directory(str(directory)) or directory
    if not is_published(directory):
        raise unpublished(directory)
    pack = read_pack(directory / NAME)
    records = filter(None, map(pack.get, expected(pack.plan, pack.get)))
    missing = [record for record in records if not is_settled(store.get(record.identity))]
    for record in missing:
        store.put(record)
    return len(missing)


def expected(plan: Plan, lookup: Lookup) -> list[str]:
    """Identities of all runs of a plan: trials, finals of the winners, latency sessions; and of the measures that its
    board shows, those that were taken.
    """
    measured = (work.cell.identity for work in plan.measuring(lookup, alone=False) if is_shown(work))
    training = [cell.identity for group in plan.groups for cell in (*group.trial_cells, *group.final_cells(lookup))]
    sessions = (cell.identity for cell in latency_cells(plan, lookup))
    return list(dict.fromkeys([*training, *sessions, *filter(lookup, measured)]))


@dataclass(frozen=True)
class Submission:
    """A published directory that is not checked yet. data: where data sets lie here."""

    directory: Path
    manifest: Manifest
    pack: Pack
    data: Path | None = None

    @classmethod
    def read(cls, directory: Path, data: Path | None = None) -> Submission:
        """:class:`ResultsError` where manifest or records cannot be read at all."""
        if not (directory / MANIFEST).exists() and not is_published(directory):
            raise unpublished(directory)
        return cls(directory, read_manifest(directory), read_pack(directory / NAME), data and data.absolute())

    @property
    def plan(self) -> Plan:
        """The plan of its records."""
        return self.pack.plan

    @property
    def verification(self) -> Verification | None:
        """The re-runs that it reports."""
        return read_verification(self.directory)

    @property
    def results(self) -> ResultSet:
        """What its boards are made from."""
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
        """The records of trials and finals, with their study, in the order of the plan."""
        found = ((group, self.pack.get(identity)) for identity, (group, _) in self.training.items())
        return [(group, record) for group, record in found if record is not None]

    def job(self, identity: str, results: Path, device: str) -> Job:
        """How one of its trials or finals is run here, into the directory ``results``."""
        group, cell = self.training[identity]
        return Job(
            cell=cell,
            row=group.row,
            spec=self.spec(group.row),
            label=f"{group.row} {group.task} at {group.budget:,}, {cell.kind} with seed {cell.seed}",
            suite=self.plan.suite.name,
            results=results,
            data=self.data,
            device=device,
            backend=self.plan.backend,
            save_weights=False,
            deterministic=self.plan.suite.training.deterministic,
        )

    def spec(self, row: str) -> str:
        """Where a row's variant is found: a name, or a file of the directory."""
        spec = self.plan.row(row).spec
        return spec if file_of(spec) is None else str(self.directory.absolute() / spec)
