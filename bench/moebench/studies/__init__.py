"""Reports of suites that make claims: what each claim comes to, with figures and packs of records.

Everything is made from finished records, those of a results directory or of packs, and trains nothing. The engine is in
this package; what a report is about is in ``moestudies``.
"""

from __future__ import annotations

from moebench.errors import PluginError, UsageError
from moebench.plugins.find import STUDIES
from moebench.plugins.named import load, spec_of, without_digest
from moebench.studies.claim import Bound, Claim, compare, difference, every, mean
from moebench.studies.evidence import Evidence
from moebench.studies.plot import Plot
from moebench.studies.study import Study, Table
from moebench.suites import Experiment


def report_named(name: str) -> Study:
    """The report of that name; :class:`PluginError` where it is none."""
    report = load(STUDIES, name)
    if not isinstance(report, Study):
        spec = spec_of(name) or name
        raise PluginError(f"study {spec}: it must be a moebench.studies.Study.", code="no-study", spec=spec)
    for field, kind in (("claims", Claim), ("plots", Plot)):
        if wrong := [each for each in getattr(report, field) if not isinstance(each, kind)]:
            raise PluginError(
                f"study {spec_of(name) or name}: its {field} must be of moebench.studies.{kind.__name__}, not "
                f"{type(wrong[0]).__name__}.",
                code="wrong-part-of-study",
                field=field,
            )
    return report


def study_of(experiment: Experiment) -> Study | None:
    """The study that an experiment names; None where it makes no claims.

    :class:`UnknownNameError` for a study that there is not, :class:`UsageError` for one that has no claim about any of
    its suites.
    """
    if experiment.study is None:
        return None
    report = report_named(experiment.study)
    if not {suite.name for suite in experiment.suites} & {*report.parts}:
        raise UsageError(
            f"the study '{without_digest(experiment.study)}' has no claim about suite '{experiment.name}', but about: "
            f"{', '.join(report.parts)}.",
            code="study-of-other-suites",
            study=experiment.study,
            suite=experiment.name,
            known=report.parts,
        )
    return report


def suites() -> list[str]:
    """Names of the suites that have a report, each followed by its parts."""
    return [
        name
        for report in map(report_named, STUDIES.installed())
        for name in dict.fromkeys((report.name, *report.parts))
    ]


__all__ = [
    "Bound",
    "Claim",
    "Evidence",
    "Plot",
    "Study",
    "Table",
    "compare",
    "difference",
    "every",
    "mean",
    "report_named",
    "study_of",
    "suites",
]
