"""Write the report of an experiment: the page, Markdown, JSON, figures, and each part's runs as one text file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moebench.errors import DataError, ResultsError, UsageError
from moebench.plans.cache import get_plan
from moebench.plans.plan import Plan
from moebench.plugins.find import is_place
from moebench.records import Store
from moebench.records.canonical import canonical_json
from moebench.records.store import parse_record, write_atomic
from moebench.studies import Report, study_of, suites
from moebench.studies.evidence import Evidence, Part, Run, of_plans, slim
from moebench.studies.judged import judge, to_json
from moebench.studies.page import to_html, to_markdown
from moebench.studies.plot import draw
from moebench.suites import Experiment, Suite
from moebench.suites.request import Asked

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


VERSION = 1


def pack_path(directory: Path, part: str) -> Path:
    """Where a part's pack lies."""
    return directory / f"{part}.jsonl"


def to_lines(part: Part) -> str:
    """The pack's text."""
    head = {
        "pack": VERSION,
        "part": part.name,
        "full": part.full,
        "seeds": part.seeds,
        "runs": len(part.runs),
        "missing": part.missing,
        "problem": part.problem,
    }
    return "".join(canonical_json(value) + "\n" for value in (head, *map(_line, part.runs)))


def read_packs(name: str, title: str, suites: Sequence[Suite], directory: Path) -> Evidence:
    """The evidence that the packs of a directory hold; a part without a pack has not run.

    :class:`ResultsError` where there is no pack, or one is damaged: its file and line.
    """
    paths = {suite.name: pack_path(directory, suite.name) for suite in suites}
    if not any(path.is_file() for path in paths.values()):
        raise ResultsError(f"'{directory}' holds no pack of suite '{name}', such as '{next(iter(paths))}.jsonl'.")
    return Evidence(name, title, tuple(_read(suite, paths[suite.name]) for suite in suites))


def _read(suite: Suite, path: Path) -> Part:
    if not path.is_file():
        return Part(suite, False, 0, (), problem="there is no pack of it")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ResultsError(f"the pack '{path}' is not text ({error.reason}).") from error
    except OSError as error:
        raise ResultsError(f"cannot read the pack '{path}' ({error.strerror}).") from error
    number = 1
    try:
        head = _object(lines[0] if lines else "")
        if head.get("pack") != VERSION or head.get("part") != suite.name:
            raise ValueError(f"not the first line of a pack of '{suite.name}', version {VERSION}")
        full, seeds, count, problem = bool(head["full"]), int(head["seeds"]), int(head["runs"]), str(head["problem"])
        missing = tuple((str(run), str(status), str(reason)) for run, status, reason in head["missing"])
        arms = set(suite.row_names)
        open_ended = any(map(is_place, suite.variants))  # a row from a file is known by name once it is imported
        runs = []
        for line in lines[1:]:
            number += 1
            runs.append(_run(line, None if open_ended else arms))
        if len(runs) != count:
            raise ValueError(f"the pack ends here, after {len(runs)} of {count} runs")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ResultsError(f"the pack '{path}' is damaged at line {number}: {why}.") from error
    return Part(suite, full, seeds, tuple(runs), missing, problem)


def _line(run: Run) -> dict[str, Any]:
    arrays = {name: array.tolist() for name, array in run.arrays.items()}
    return {"arm": run.arm, "index": run.index, "record": run.record.model_dump(mode="json"), "arrays": arrays}


def _run(line: str, arms: set[str] | None) -> Run:
    value = _object(line)
    record = slim(parse_record(json.dumps(value["record"])))
    if record.status != "done":
        raise ValueError(f"a run that is {record.status}, not done")
    if arms is not None and value["arm"] not in arms:
        raise ValueError(f"the suite has no arm '{value['arm']}'")
    arrays = {str(name): np.array(array, dtype=np.float64) for name, array in value["arrays"].items()}
    return Run(value["arm"], int(value["index"]), record, arrays)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not whole JSON ({error.msg} at {error.pos})") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
