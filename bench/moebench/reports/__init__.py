"""Reports of suites that make claims: what each claim comes to, with figures and packs of records.

Everything is made from finished records, those of a results directory or of packs, and trains nothing. The engine is in
this package; what a report is about is in ``moestudies``.
"""

from __future__ import annotations

from importlib import import_module

from moebench.reports.report import Report

NAMES = ("paper", "cnn", "compress", "generalization", "parrots")
"""A package of ``moestudies`` for each, which holds its ``REPORT``; also the name of the suite."""


def report_named(name: str) -> Report:
    """The report of that name."""
    report: Report = import_module(f"moestudies.{name}").REPORT
    return report


def report_of(suite: str) -> Report | None:
    """The report that a suite has, or has a part in; None where it makes no claims."""
    reports = map(report_named, NAMES)
    return next((report for report in reports if suite in (report.name, *report.parts)), None)


def suites() -> list[str]:
    """Names of the suites that have a report, each followed by its parts."""
    return [name for report in map(report_named, NAMES) for name in dict.fromkeys((report.name, *report.parts))]


__all__ = ["NAMES", "Report", "report_named", "report_of", "suites"]
