"""Everything from a request to its results: plan, train, measure, write MLflow, make the board or the report."""

from moebench.session.how import How
from moebench.session.suite import Session, prepare, run_suite

__all__ = ["How", "Session", "prepare", "run_suite"]
