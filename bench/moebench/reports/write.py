"""Write the report of a series or of one part: the page, Markdown, JSON, figures and packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from moebench.errors import ResultsError, UsageError
from moebench.reports import Report, report_of, suites
from moebench.reports.evidence import Evidence, Part, of_plans
from moebench.reports.judged import judge, to_json
from moebench.reports.markdown import to_markdown
from moebench.reports.pack import pack_path, read_packs, to_lines
from moebench.reports.page import to_html
from moebench.reports.plot import draw
from moebench.runs import Store
from moebench.runs.store import write_atomic
from moebench.sweeps.load import load_any, load_parts
from moebench.sweeps.plan import SweepPlan

PAGE = "report.html"


def write_report(name: str, source: Sequence[SweepPlan | Part] | Path, results: Path, out: Path | None = None) -> Path:
    """Write the report of suite ``name``, and return its page.

    source: the plans of its parts, whose records lie in ``results``, or a directory of packs. out: by itself
    ``results/<suite>``. :class:`ResultsError` where nothing of it has run, or a pack is missing or damaged.
    """
    evidence = _evidence(name, source, results)
    return write_evidence(check_report(name), evidence, out or results / evidence.name)


def write_evidence(report: Report, evidence: Evidence, out: Path) -> Path:
    """As :func:`write_report`. A file that already says the same is left alone."""
    for path, content in _files(report, evidence):
        place = out / path
        if not place.is_file() or place.read_bytes() != content:
            _write(place, content)
    return out / PAGE


def check_report(name_or_path: str) -> Report:
    """The report of a suite; :class:`UsageError` where it has none."""
    series, sweeps = load_parts(name_or_path)
    name = series.name if series else sweeps[0].name
    report = report_of(name)
    if report is None:
        raise UsageError(f"suite '{name}' makes no claims that a report judges; these do: {', '.join(suites())}.")
    return report


def _evidence(name: str, source: Sequence[SweepPlan | Part] | Path, results: Path) -> Evidence:
    called = Path(name).stem
    if isinstance(source, Path):
        series, sweeps = load_parts(name)
        return read_packs(called, series.title if series else sweeps[0].title, sweeps, source)
    title = source[0].sweep.title if len(source) == 1 else load_any(name).title
    evidence = of_plans(called, title, source, Store(results))
    if not evidence:
        form = " --full" if source[0].full else ""
        raise ResultsError(
            f"nothing of suite '{called}' has run into '{results}'; run it with `moebench run {name}{form}`."
        )
    return evidence


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
