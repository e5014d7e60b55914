"""Everything from a request to its results: plan, train, measure, write MLflow, make boards and the report."""

from moebench.session.run import How, Session, prepare, run_experiment

__all__ = ["How", "Session", "prepare", "run_experiment"]
