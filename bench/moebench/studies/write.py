"""Write the report of an experiment: the page, Markdown, JSON, figures, and each part's runs as one text file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moebench.errors import DataError, ResultsError, UsageError
from moebench.files import LARGE, read_text
from moebench.plans.cache import get_plan
from moebench.plans.history import board_directory
from moebench.plans.plan import Plan
from moebench.plugins.find import is_place
from moebench.records import Store
from moebench.records.canonical import canonical_json
from moebench.records.store import parse_record, write_atomic
from moebench.studies import Study, study_of, suites
from moebench.studies.evidence import Array, Evidence, Part, Run, of_plans, part_left_out, slim
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
        evidence = of_plans(experiment.name, experiment.title, source, Store(results), report.arrays)
        if not evidence:
            run = f"moebench run {experiment.called}{' --full' if source[0].full else ''}"
            raise ResultsError(
                f"'{results}' has no results of suite '{experiment.name}'; run it with `{run}`.",
                code="report-without-results",
                results=results,
                suite=experiment.name,
                run=run,
            )
    return write_evidence(report, evidence, out or _folder(results, evidence.name, source))


def _folder(results: Path, name: str, source: Path | Sequence[Plan | Part]) -> Path:
    """Beside the board: in a folder of its own where the number of seeds or trials was changed."""
    plans = [] if isinstance(source, Path) else [each for each in source if isinstance(each, Plan) and each.rows]
    return board_directory(results, name, plans[0].protocol) if len(plans) == 1 else results / name


def write_evidence(report: Study, evidence: Evidence, out: Path) -> Path:
    """As :func:`write_report`. A file whose content would not change is not written."""
    for name, content in _files(report, evidence):
        path = out / name
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            continue
        try:
            write_atomic(path, content)
        except OSError as error:
            raise ResultsError(
                f"cannot write '{path}' ({error.strerror}); choose another folder with --out DIR.",
                code="cannot-write-report",
                path=path,
            ) from error
    return out / PAGE


def check_report(experiment: Experiment) -> Study:
    """The study of an experiment; :class:`UsageError` where it has none."""
    report = study_of(experiment)
    if report is None:
        known = suites()
        raise UsageError(
            f"suite '{experiment.name}' makes no claims that a report judges; these do: {', '.join(known)}.",
            code="suite-without-claims",
            suite=experiment.name,
            known=known,
        )
    return report


def plan_parts(asked: Asked, results: Path) -> list[Plan | Part]:
    """The plan of every suite; one whose data set is not here cannot have run here, and is a part without runs.

    :class:`DataError` where that is so of all.
    """
    found: list[Plan | Part] = []
    problems = []
    for request in asked.requests:
        try:
            found.append(get_plan(request, results))
        except DataError as error:
            problems.append(error)
            found.append(part_left_out(request, error))
    if len(problems) == len(found):
        raise problems[-1]
    return found


def _files(report: Study, evidence: Evidence) -> Iterator[tuple[str, bytes]]:
    rows = judge(report, evidence)
    drawings, absent = draw(report.plots, evidence)
    for part in evidence.parts:
        if part.problem != NO_PACK:
            yield str(pack_path(Path(), part.name)), to_lines(part).encode()
    for drawing in drawings:
        yield f"figures/{drawing.name}.svg", drawing.svg.encode()
        yield f"figures/{drawing.name}.png", drawing.png
    yield "claims.json", to_json(evidence, rows).encode()
    yield "report.md", to_markdown(report, evidence, rows).encode()
    yield PAGE, to_html(report, evidence, rows, drawings, absent).encode()


VERSION = 1

NO_PACK = "there is no pack of it"
"""Why a part has no runs where the others were read from packs."""


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
        raise ResultsError(
            f"'{directory}' holds no pack of suite '{name}', such as '{next(iter(paths))}.jsonl'.",
            code="no-packs",
            directory=directory,
            suite=name,
        )
    return Evidence(name, title, tuple(_read(suite, paths[suite.name]) for suite in suites))


def _read(suite: Suite, path: Path) -> Part:
    if not path.is_file():
        return Part(suite, False, 0, (), problem=NO_PACK)
    number = 1
    try:
        first, *lines = read_text(path, LARGE).splitlines() or [""]
        head = _object(first)
        if head.get("pack") != VERSION or head.get("part") != suite.name:
            raise ValueError(f"not the first line of a pack of '{suite.name}', version {VERSION}")
        missing = tuple((str(run), str(status), str(reason)) for run, status, reason in head["missing"])
        rows = set(suite.row_names)
        open_ended = any(map(is_place, suite.variants))  # a row from a file is known by name once it is imported
        runs = []
        for line in lines:
            number += 1
            runs.append(_run(line, None if open_ended else rows))
        if len(runs) != int(head["runs"]):
            raise ValueError(f"the pack ends here, after {len(runs)} of {head['runs']} runs")
        return Part(suite, bool(head["full"]), int(head["seeds"]), tuple(runs), missing, str(head["problem"]))
    except OSError as error:
        raise ResultsError(
            f"cannot read the pack '{path}' ({error.strerror}).", code="unreadable-part", path=path
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ResultsError(
            f"the pack '{path}' is damaged at line {number}: {why}.",
            code="damaged-part",
            path=path,
            line=number,
            why=why,
        ) from error


def _line(run: Run) -> dict[str, Any]:
    arrays = {name: _with_nulls(array) for name, array in run.arrays.items()}
    # "arm" is the key of packs published before rows were called rows.
    return {"arm": run.row, "index": run.index, "record": run.record.model_dump(mode="json"), "arrays": arrays}


def _with_nulls(array: Array) -> list[Any]:
    """Nested lists; null for NaN, which JSON does not have and which stands where a class has no input."""
    values = array.astype(object)
    values[np.isnan(array)] = None
    listed: list[Any] = values.tolist()
    return listed


def _run(line: str, rows: set[str] | None) -> Run:
    value = _object(line)
    record = slim(parse_record(json.dumps(value["record"])))
    if record.status != "done":
        raise ValueError(f"a run that is {record.status}, not done")
    if rows is not None and value["arm"] not in rows:
        raise ValueError(f"the suite has no row '{value['arm']}'")
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
