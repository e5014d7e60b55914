"""Result sets as they ran: a published directory by its pack, a results directory by the plan of its last run."""

from __future__ import annotations

from pathlib import Path

from moebench.comparison.compare import compare
from moebench.comparison.model import Comparison
from moebench.planning.generations import grown
from moebench.planning.history import ran_plan
from moebench.published.sources import ResultSet, is_published, open_results
from moebench.runs import Store


def compare_directories(a: str | Path, b: str | Path, suite: str | None = None) -> Comparison:
    """Compare what two directories hold; ``suite`` as for :func:`open_side`, by itself that of A."""
    first = open_side(Path(a), suite)
    return compare(first, open_side(Path(b), first.plan.suite.name))


def open_side(directory: Path, suite: str | None = None) -> ResultSet:
    """The results in a directory, by the code that they were made with.

    A plan made today has the identities of today's code, and finds nothing of what ran before a change of it: so the
    plan that ran is read. A directory from before plans were kept gets today's.
    """
    plan = None if is_published(directory) else ran_plan(directory, suite)
    if plan is None:
        return open_results(directory, suite)
    store = Store(directory)
    return ResultSet(directory, grown(plan, store.get), store.get)
