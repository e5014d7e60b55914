"""Find and read suite files; every mistake becomes one sentence: file, key, and what would be right."""

from __future__ import annotations

import difflib
import logging
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from moebench.errors import SuiteError, UnknownNameError
from moebench.files import read_bytes
from moebench.hosts import host_kind, host_settings
from moebench.plugins.find import HOSTS, MEASURES, STUDIES, TASKS, PluginGroup, find_variants, is_place
from moebench.plugins.named import settle, spec_of
from moebench.suites.schema import Series, Suite, SuiteMeasure, SuiteRow, TaskEntry, TrainingSettings
from moebench.tasks.catalogue import split_settings, with_settings
from moebench.text import shortened, told

LOG = logging.getLogger(__name__)

WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "too_short": "must not be empty",
}
"""What would be right, by pydantic's kind of finding; the others say it well enough."""

MADE = "plugins"
"""The one key of a suite that no file has."""

RENAMED = {"arm": "row", "report": "study"}
"""Keys of earlier versions, and what they are called now."""


@dataclass(frozen=True)
class Experiment:
    """What a file describes, read once: one suite, or a series of them with one study.

    named: each suite as a person may name it, by its name or its file. optional: those of ``named`` that are left out
    where their data set is not there.
    """

    name: str
    title: str
    study: str | None
    suites: tuple[Suite, ...]
    named: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    def ranked(self) -> Suite:
        """The suite that has a board; :class:`SuiteError` where there is none, or more than one suite."""
        if len(self.suites) == 1 and self.suites[0].tuning is not None:
            return self.suites[0]
        if boards := [suite.name for suite in self.suites if suite.tuning is not None]:
            raise SuiteError(
                f"suite '{self.name}' has parts; those with a board are: {', '.join(boards)}.", code="board-in-parts"
            )
        reported = f" and `moebench report {shlex.quote(self.called)}`" if self.study else ""
        raise SuiteError(
            f"suite '{self.name}' sweeps fixed settings and ranks nothing: it has no leaderboard; "
            f"use `moebench run {shlex.quote(self.called)}`{reported}.",
            code="no-leaderboard",
        )

    @property
    def called(self) -> str:
        """The whole of it as a person may name it."""
        return self.named[0] if len(self.suites) == 1 else self.name


def find_suites() -> dict[str, Path]:
    """The suites that moebench brings, by name."""
    folder = Path(str(files("moebench.suites")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_suite(name_or_path: str) -> Suite:
    """A validated suite that ranks, from its name or from a user's own file."""
    return load_experiment(name_or_path).ranked()


def load_experiment(name_or_path: str) -> Experiment:
    """Whatever a name or a user's own file describes, validated; its parts, too."""
    values, where = read_values(name_or_path)
    if "parts" not in values:
        suite = parse_suite(values, where)
        return Experiment(suite.name, suite.title, suite.study, (suite,), (name_or_path,))
    try:
        series = Series.model_validate(values)
    except ValidationError as error:
        raise _invalid(where, error, "", {"Series": Series}) from error
    suites = []
    for part in series.parts:
        values, place = read_values(part)
        if "parts" in values:
            raise SuiteError(f"suite '{where}': its part '{part}' has parts itself.", code="part-has-parts")
        suites.append(parse_suite(values, place))
    study = series.study and settle(STUDIES, _beside(Path(where).parent, series.study))
    named, optional = tuple(series.parts), frozenset(series.optional)
    return Experiment(series.name, series.title, study, tuple(suites), named, optional)


def read_values(name_or_path: str) -> tuple[dict[str, Any], str]:
    """What the file of a suite says, its name included, and where it lies."""
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise SuiteError(f"there is no suite file '{path}'.", code="no-suite-file")
    else:
        known = find_suites()
        if name_or_path not in known:
            raise UnknownNameError("suite", name_or_path, known)
        path = known[name_or_path]
    LOG.info("suite '%s': %s", path.stem, path)
    try:
        return {"name": path.stem, **tomllib.loads(_text(path))}, str(path)
    except (ValueError, RecursionError) as error:  # also of nesting or digits that Python does not read
        raise SuiteError(f"'{path}' is not valid TOML: {told(error)}.", code="not-toml") from error
    except OSError as error:
        raise SuiteError(
            f"cannot read the suite file '{path}' ({error.strerror}).", code="suite-file-unreadable"
        ) from error


UTF_16_AND_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
"""Byte order marks of encodings that TOML does not have."""


def _text(path: Path) -> str:
    """TOML is UTF-8, with or without a byte order mark, which some editors write."""
    content = read_bytes(path)
    if content.startswith(UTF_16_AND_32):
        raise SuiteError(
            f"'{path}' is in UTF-16 or UTF-32, and TOML is in UTF-8; save it as UTF-8.", code="not-utf-8", path=path
        )
    return content.decode("utf-8-sig").replace("\r\n", "\n")


def parse_suite(values: dict[str, Any], where: str) -> Suite:
    """Validate what a file says, down to the training of every row on every task; plug-ins get their settled names.

    Hosts are validated when the suite is planned, see :func:`check_hosts`: theirs may be a network's imports.
    """
    key = ""
    if MADE in values:
        raise SuiteError(
            f"suite '{where}': unknown key '{MADE}'; a plug-in is named where it is used.", code="key-made"
        )
    try:
        suite = _settled(Suite.model_validate(values), Path(where).parent)
        _check_names(suite, where)
        for key, _, changed in _places(suite):
            key = f"{key}.training"
            training = suite.training_of(*changed)
            if isinstance(row := changed[-1], SuiteRow):
                lacking = next((name for name in ("optimiser", "lr") if getattr(training, name) is None), "")
                if lacking:
                    raise SuiteError(
                        f"suite '{where}': the key 'training.{lacking}' is missing, which row '{row.name}' needs.",
                        code="row-without-training",
                        key=lacking,
                    )
    except ValidationError as error:
        raise _invalid(where, error, key, {"Suite": Suite, "TrainingSettings": TrainingSettings}) from error
    except UnknownNameError as error:
        raise SuiteError(f"suite '{where}': {error}", code=error.code, **error.facts) from error
    return suite


def check_hosts(suite: Suite, where: str) -> None:
    """:class:`SuiteError` where the settings of a host are wrong, on any of its tasks."""
    for place, _, changed in _places(suite):
        key = f"{place}.host" if any(each.host for each in changed) else "host"
        values = suite.host_of(*changed)
        try:
            host_settings(values)
        except ValidationError as error:
            kind = host_kind(str(values["name"]))
            raise _invalid(where, error, key, {kind.__name__: kind}) from error


def _beside(folder: Path, spec: str) -> str:
    """A plug-in's file as seen from a folder, where it lies there; else what was given."""
    beside = folder / spec
    return str(beside) if is_place(spec) and Path(str(beside).rpartition(":")[0]).is_file() else spec


def _settled(suite: Suite, folder: Path) -> Suite:
    """The suite with its plug-ins under the names that records have of them; files as seen from its own folder."""

    at = partial(_beside, folder)

    def name(group: PluginGroup, spec: str) -> str:
        return settle(group, at(spec))

    def of_host(values: dict[str, Any]) -> dict[str, Any]:
        return values | {"name": name(HOSTS, str(values["name"]))} if "name" in values else values

    def of_task(entry: TaskEntry) -> TaskEntry:
        called = with_settings(name(TASKS, entry.name), entry.settings)
        return entry.model_copy(update={"name": called, "settings": {}, "host": of_host(entry.host)})

    def of_row(row: SuiteRow) -> SuiteRow:
        called, settings = split_settings(row.task or "")
        task = row.task and with_settings(name(TASKS, called), settings)
        return row.model_copy(update={"task": task, "host": of_host(row.host), "variant": at(row.variant)})

    def of_measure(measure: SuiteMeasure) -> SuiteMeasure:
        return measure.model_copy(update={"kind": name(MEASURES, measure.kind)})

    settled = suite.model_copy(
        update={
            "variants": [at(each) for each in suite.variants],
            "ranked": [each.model_copy(update={"variant": at(each.variant)}) for each in suite.ranked],
            "reference": [each.model_copy(update={"variant": at(each.variant)}) for each in suite.reference],
            "task": [of_task(entry) for entry in suite.task],
            "row": [of_row(row) for row in suite.row],
            "host": of_host(suite.host),
            "measure": [of_measure(measure) for measure in suite.measure],
            "study": suite.study and name(STUDIES, suite.study),
        }
    )
    hosts = [settled.host, *(entry.host for entry in settled.task), *(row.host for row in settled.row)]
    kinds = (measure.kind for measure in settled.measure)
    tasks = (split_settings(task)[0] for task in settled.all_tasks)
    named = [*tasks, *(host.get("name") for host in hosts), settled.study, *kinds]
    return settled.model_copy(update={"plugins": {each: spec for each in named if each and (spec := spec_of(each))}})


def _places(suite: Suite) -> Iterator[tuple[str, TaskEntry, tuple[TaskEntry | SuiteRow, ...]]]:
    """(key, task, what changes host and training) of every task of the board, and of every fixed row on each of its
    tasks.
    """
    if suite.tuning is not None:
        yield from ((f"task.{index}", entry, (entry,)) for index, entry in enumerate(suite.task))
    for index, row in enumerate(suite.row):
        yield from ((f"row.{index}", entry, (entry, row)) for entry in suite.entries_of(row))


def _check_names(suite: Suite, where: str) -> None:
    """What refers to rows or variants refers to the suite's. If not, it may be the variant that is misspelt."""
    behind = [*(each.variant for each in suite.named), *(row.variant for row in suite.row)]
    variants = sorted({*suite.variants, *behind})
    if any(map(is_place, variants)):
        return  # the name that a file gives itself is known when it is imported
    problem = next(_stray_names(suite, variants), "")
    if problem:
        installed = find_variants()
        for variant in variants:
            if variant not in installed:
                raise UnknownNameError("variant", variant, installed)
        raise SuiteError(f"suite '{where}': {problem}", code="names-do-not-match")


def _stray_names(suite: Suite, variants: list[str]) -> Iterator[str]:
    ranked = [*suite.variants, *(each.name for each in suite.ranked)]
    for reference in suite.reference:
        for key in ("active_of", "like"):
            name = getattr(reference, key)
            if name is not None and name not in ranked:
                yield f"{key} of the reference '{reference.name}' is '{name}'; {_hint(name, ranked)}"
    spaced = [*variants, *(each.name for each in suite.named)]
    for name in suite.space:
        if name not in spaced:
            yield f"space.{name} is for a variant that the suite does not have; {_hint(name, spaced)}"
    rows = suite.row_names
    for measure in suite.measure:
        for name in measure.rows or ():
            if name not in rows:
                yield f"measure '{measure.name}' is of the row '{name}', which is not there; {_hint(name, rows)}"
    if suite.tuning is None and "latency" in suite.model_fields_set:
        yield "[latency] is of rows that are tuned, and there is no [tuning]."
    if not suite.row:
        for key in ("optimiser", "lr", "weight_decay"):
            if getattr(suite.training, key) is not None:
                yield f"training.{key} is for rows of fixed settings, of which there are none; see [tuning]."


Models = Mapping[str, type[BaseModel]]
"""By the title that pydantic gives their errors."""


def _invalid(where: str, error: ValidationError, key: str, models: Models) -> SuiteError:
    kind = _finding(error)["type"]
    code = {"extra_forbidden": "unknown-key", "missing": "missing-key"}.get(kind, "wrong-value")
    return SuiteError(f"suite '{where}': {_sentence(error, key, models)}", code=code)


def _finding(error: ValidationError) -> Any:
    """The likeliest of pydantic's findings: a misspelt key is also missing, and its spelling has to be mended."""
    findings = error.errors()
    return next((each for each in findings if each["type"] == "extra_forbidden"), findings[0])


def _sentence(error: ValidationError, key: str, models: Models) -> str:
    """What pydantic found. ``key`` is where the validated table lies in the file."""
    finding = _finding(error)
    where = ".".join(filter(None, (key, *map(str, finding["loc"]))))
    if finding["type"] == "extra_forbidden":
        return (
            f"unknown key '{where}'; {_hint(str(finding['loc'][-1]), _siblings(models[error.title], finding['loc']))}"
        )
    if finding["type"] == "missing":
        return f"the key '{where}' is missing."
    message = WORDS.get(finding["type"], str(finding["msg"]).replace("Input should be", "must be"))
    message = message.removeprefix("Value error, ")
    got = finding.get("input")
    shown = f", not {shortened(repr(got))}" if isinstance(got, str | int | float | bool) else ""
    return f"{where + ': ' if where else ''}{message[0].lower() + message[1:]}{shown}."


def _hint(name: str, known: list[str]) -> str:
    """What a misspelt name might have meant, or all that there is."""
    near = [RENAMED[name]] if RENAMED.get(name) in known else difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."


def _siblings(model: Any, loc: tuple[Any, ...]) -> list[str]:
    """The keys that exist beside an unknown one."""
    for part in loc[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if hasattr(c, "model_fields")), model)
    return sorted({*model.model_fields} - {MADE})
