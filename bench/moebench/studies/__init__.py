"""Reports of suites that make claims: what each claim comes to, with figures and packs of records.

Everything is made from finished records, those of a results directory or of packs, and trains nothing. The engine is in
this package; what a report is about is in ``moestudies``.
"""

from __future__ import annotations

from importlib import import_module

from moebench.errors import UnknownNameError, UsageError
from moebench.studies.study import Report
from moebench.suites import Experiment

NAMES = ("paper", "cnn", "compress", "generalization", "parrots")
"""A package of ``moestudies`` for each, which holds its ``REPORT``; also the name of the suite."""


def report_named(name: str) -> Report:
    """The report of that name."""
    report: Report = import_module(f"moestudies.{name}").REPORT
    return report


def study_of(experiment: Experiment) -> Report | None:
    """The study that an experiment names; None where it makes no claims.

    :class:`UnknownNameError` for a study that there is not, :class:`UsageError` for one that has no claim about any of
    its suites.
    """
    if experiment.study is None:
        return None
    if experiment.study not in NAMES:
        raise UnknownNameError("study", experiment.study, NAMES, f"suite '{experiment.name}'")
    report = report_named(experiment.study)
    if not {suite.name for suite in experiment.suites} & {*report.parts}:
        raise UsageError(
            f"the study '{experiment.study}' has no claim about suite '{experiment.name}', but about: "
            f"{', '.join(report.parts)}.",
            code="study-of-other-suites",
            study=experiment.study,
            suite=experiment.name,
            known=report.parts,
        )
    return report


def suites() -> list[str]:
    """Names of the suites that have a report, each followed by its parts."""
    return [name for report in map(report_named, NAMES) for name in dict.fromkeys((report.name, *report.parts))]


__all__ = ["NAMES", "Report", "report_named", "study_of", "suites"]
