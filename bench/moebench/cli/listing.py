"""The tables of ``moebench list``."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich.table import Table
from rich.text import Text

from moebench.errors import MoebenchError
from moebench.hosts import host_kind
from moebench.plugins import named
from moebench.plugins.find import BACKENDS, COMPRESSORS, HOSTS, MEASURES, STUDIES, TASKS, Found, Group, find_variants
from moebench.suites import find_suites
from moebench.tasks import get_task


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, style="bold" if index == 0 else None, overflow="fold", no_wrap=index == 0)
    return table


def variants(load: bool) -> Table:
    """Name, package, and what it is, or why it cannot be used."""
    return _plugins("variants", find_variants(), _load_variant if load else None)


def suites(load: bool) -> Table:
    """Name, title, tasks, rows and effort."""
    table = _table("suites", "name", "what it compares", "tasks", "effort")
    for name, path in find_suites().items():
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        table.add_row(name, values["title"], *_tasks_and_effort(values))
    return table


def _tasks_and_effort(values: dict[str, Any]) -> tuple[str, str]:
    """Of a suite, or of a series of them."""
    if "parts" in values:
        return "", f"runs {', '.join(values['parts'])}"
    named = [*(task["name"] for task in values.get("task", ())), *(row.get("task") for row in values.get("row", ()))]
    few = values.get("seeds", 3)
    many = values.get("full_seeds", few)
    seeds = f"{few} seed{'s' * (few > 1)}{f' ({many} with --full)' if many != few else ''}"
    effort = f"{values['tuning']['trials']} trials" if "tuning" in values else "no tuning"
    return ", ".join(dict.fromkeys(filter(None, named))), f"{effort}, {seeds}"


def tasks(load: bool) -> Table:
    """Name, package, what the data are, the shape of an input, and the outputs of a model."""
    table = _table("tasks", "name", "package", "data", "inputs", "outputs")
    for found in TASKS.installed().values():
        problem = found.problem or _missing_import(found) or (_problem_of(_load_task, found) if load else "")
        if problem or not (load or found.package == "moebench"):
            table.add_row(Text(found.name), Text(found.package), _about(found, problem), "", "")
        else:
            info = get_task(found.name).info
            table.add_row(Text(found.name), Text(found.package), info.label, str(info.inputs), str(info.outputs))
    return table


def hosts(load: bool) -> Table:
    """Name, package, and what it is, or why it cannot be used."""
    return _plugins("hosts", HOSTS.installed(), _load_host if load else None)


def measures(load: bool) -> Table:
    """Name, package, and what it is, or why it cannot be used."""
    return _plugins("measures", MEASURES.installed(), partial(_load_named, MEASURES) if load else None)


def studies(load: bool) -> Table:
    """Name, package, and what it is, or why it cannot be used."""
    return _plugins("studies", STUDIES.installed(), partial(_load_named, STUDIES) if load else None)


def backends(load: bool) -> Table:
    """Name, package, and what it is, or why it cannot be used."""
    return _plugins("backends", BACKENDS.installed(), _load_backend if load else None)


def compressors(load: bool) -> Table:
    """Name, package, and what it is, or why it cannot be used."""
    return _plugins("compressors", COMPRESSORS.installed(), _load_compressor if load else None)


def _plugins(title: str, plugins: Mapping[str, Found], load: Callable[[Found], object] | None) -> Table:
    table = _table(title, "name", "package", "what it is")
    for found in plugins.values():
        problem = found.problem or _missing_import(found) or (_problem_of(load, found) if load else "")
        table.add_row(Text(found.name), Text(found.package), _about(found, problem))
    return table


def _about(found: Found, problem: str) -> Text:
    return Text(f"not usable: {problem}", style="red") if problem else Text(_summary(found))


TABLES: Mapping[str, Callable[[bool], Table]] = {
    "variants": variants,
    "suites": suites,
    "tasks": tasks,
    "hosts": hosts,
    "measures": measures,
    "studies": studies,
    "backends": backends,
    "compressors": compressors,
}


def _tree(found: Found) -> ast.Module | None:
    if found.source is None:
        return None
    try:
        return ast.parse(found.source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def _summary(found: Found) -> str:
    """The first paragraph of the docstring of the class or function, read from the source."""
    tree = _tree(found)
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == found.attribute:
            return _first_paragraph(ast.get_docstring(node))
    return _first_paragraph(ast.get_docstring(tree)) if tree else ""


def _first_paragraph(docstring: str | None) -> str:
    """As plain words: on one line, without roles and quotes of reStructuredText."""
    words = " ".join((docstring or "").partition("\n\n")[0].split())
    return re.sub(r"(:\w+:`~?|`+)", "", words)


def _missing_import(found: Found) -> str:
    """A module that the source imports at its top and that is not installed; or a source that is not Python."""
    from importlib.util import find_spec

    tree = _tree(found)
    if tree is None:
        return f"'{found.source}' is not valid Python." if found.source else ""
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        for name in names:
            if find_spec(name.partition(".")[0]) is None:
                return f"it imports '{name}', which is not installed."
    return ""


def _load_variant(found: Found) -> object:
    from moebench.plugins.load import load_variant

    return load_variant(found)


def _load_task(found: Found) -> object:
    return get_task(found.name)


def _load_host(found: Found) -> object:
    return host_kind(found.name)


def _load_named(group: Group, found: Found) -> object:
    return named.load(group, found.name)


def _load_backend(found: Found) -> object:
    from moebench.plugins.backends import load_backend

    return load_backend(found.name)


def _load_compressor(found: Found) -> object:
    from moebench.measures.compression import load_compressor

    return load_compressor(found.name)


def _problem_of(load: Callable[[Found], object], found: Found) -> str:
    try:
        load(found)
    except MoebenchError as error:
        return str(error)
    return ""
