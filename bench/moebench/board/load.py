"""Read the board of a suite that has run."""

from __future__ import annotations

from functools import partial

from moebench.board.build import build_board
from moebench.board.model import Board
from moebench.errors import ResultsError
from moebench.planning.cache import get_plan
from moebench.planning.generations import grown
from moebench.planning.history import board_request, known_suites, name_of
from moebench.runs import Store
from moebench.suites import load_suite


def read_board(store: Store, suite: str | None, seeds: int | None = None, trials: int | None = None) -> Board:
    """The board of a suite (a name or the path of its file; None: the last one that ran), as it last ran.

    ``seeds`` and ``trials`` instead of those it last ran with. Afterwards ``store.damaged`` lists the records that
    could not be read. :class:`ResultsError` where the suite has not run.
    """
    if suite is not None and name_of(suite) not in known_suites(store.root):
        load_suite(suite)  # a name that no suite has gets its own sentence
        raise ResultsError(f"suite '{suite}' has not run into '{store.root}' yet; run it with `moebench run {suite}`.")
    request = board_request(store.root, suite, seeds, trials)
    plan = get_plan(request, store.root)
    return build_board(grown(plan, store.get), store.get, partial(store.finals_of, plan.suite.name))
