"""Write the report of an experiment: the page, Markdown, JSON, figures and packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from moebench.errors import DataError, ResultsError, UsageError
from moebench.planning.cache import get_plan
from moebench.planning.plan import Plan
from moebench.planning.request import Asked
from moebench.reports import Report, study_of, suites
from moebench.reports.evidence import Evidence, Part, of_plans
from moebench.reports.judged import judge, to_json
from moebench.reports.markdown import to_markdown
from moebench.reports.pack import pack_path, read_packs, to_lines
from moebench.reports.page import to_html
from moebench.reports.plot import draw
from moebench.runs import Store
from moebench.runs.store import write_atomic
from moebench.suites import Experiment

PAGE = "report.html"


def write_report(
    experiment: Experiment, source: Sequence[Plan | Part] | Path, results: Path, out: Path | None = None
) -> Path:
    """Write the report of an experiment's study, and return its page.

    source: the plans of its suites, whose records lie in ``results``, or a directory of packs. out: by default
    ``results/<experiment>``. :class:`ResultsError` where nothing of it has run, or a pack is missing or damaged.
    """
    report = check_report(experiment)
    if isinstance(source, Path):
        evidence = read_packs(experiment.name, experiment.title, experiment.suites, source)
    else:
        evidence = of_plans(experiment.name, experiment.title, source, Store(results))
        if not evidence:
            form = " --full" if source[0].full else ""
            raise ResultsError(
                f"nothing of suite '{experiment.name}' has run into '{results}'; run it with "
                f"`moebench run {experiment.called}{form}`."
            )
    return write_evidence(report, evidence, out or results / evidence.name)


def write_evidence(report: Report, evidence: Evidence, out: Path) -> Path:
    """As :func:`write_report`. A file that already says the same is left alone."""
    for path, content in _files(report, evidence):
        place = out / path
        if not place.is_file() or place.read_bytes() != content:
            _write(place, content)
    return out / PAGE


def check_report(experiment: Experiment) -> Report:
    """The study of an experiment; :class:`UsageError` where it has none."""
    report = study_of(experiment)
    if report is None:
        raise UsageError(
            f"suite '{experiment.name}' makes no claims that a report judges; these do: {', '.join(suites())}."
        )
    return report


def plan_parts(asked: Asked, results: Path) -> list[Plan | Part]:
    """The plan of every suite; one whose data set is not here cannot have run here, and is a part without runs.

    :class:`DataError` where that is so of all.
    """
    found: list[Plan | Part] = []
    problem = None
    for request in asked.requests:
        try:
            found.append(get_plan(request, results))
        except DataError as error:
            problem = error
            found.append(Part(request.suite, request.full, 0, (), problem=str(error)))
    if problem and all(isinstance(each, Part) for each in found):
        raise problem
    return found


def _files(report: Report, evidence: Evidence) -> Iterator[tuple[str, bytes]]:
    rows = judge(report, evidence)
    drawings, absent = draw(report.plots, evidence)
    for part in evidence.parts:
        yield str(pack_path(Path(), part.name)), to_lines(part).encode()
    for drawing in drawings:
        yield f"figures/{drawing.name}.svg", drawing.svg.encode()
        yield f"figures/{drawing.name}.png", drawing.png
    yield "claims.json", to_json(evidence, rows).encode()
    yield "report.md", to_markdown(report, evidence, rows).encode()
    yield PAGE, to_html(report, evidence, rows, drawings, absent).encode()


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise ResultsError(
            f"cannot write '{path}' ({error.strerror}); choose another folder with --out DIR."
        ) from error
