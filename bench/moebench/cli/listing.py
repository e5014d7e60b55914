"""The tables of ``moebench list``."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from moebench.cli.verbosity import is_verbose
from moebench.errors import MoebenchError
from moebench.hosts import host_kind
from moebench.plugins import named
from moebench.plugins.backends import load_backend
from moebench.plugins.find import BACKENDS, COMPRESSORS, HOSTS, MEASURES, STUDIES, TASKS, VARIANTS, Found, PluginGroup
from moebench.suites import find_suites
from moebench.tasks import get_task
from moebench.text import counted_noun


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        style = "bold" if index == 0 else None
        table.add_column(column, style=style, overflow="fold", no_wrap=index == 0)
    return table


def fitted(table: Table, width: int) -> Table:
    """The table with a line for each name: its longest columns are cut until it fits.

    With ``--verbose`` long texts are broken over lines instead.
    """
    if is_verbose():
        return table
    widths = [max(cell_len(str(cell)) for cell in (column.header, *column.cells)) for column in table.columns]
    while sum(widths) + GAP * len(widths) > width and max(widths[1:]) > LEAST:
        longest = max(range(1, len(widths)), key=lambda index: widths[index])
        widths[longest] -= 1
    for column, fits in zip(table.columns, widths, strict=True):
        column.width, column.no_wrap, column.overflow = fits, True, "ellipsis"
    return table


GAP = 2
LEAST = 8
"""Places that a column keeps."""


def table(kind: str, *, load: bool) -> Table:
    """The table of one kind. load: import each plug-in, to see whether it works."""
    if kind == "suites":
        return _suites()
    return _tasks(load) if kind == "tasks" else _plugins(kind, load)


def _suites() -> Table:
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
    seeds = f"{counted_noun(few, 'seed')}{f' ({many} with --full)' if many != few else ''}"
    effort = f"{values['tuning']['trials']} trials" if "tuning" in values else "no tuning"
    return ", ".join(dict.fromkeys(filter(None, named))), f"{effort}, {seeds}"


def _tasks(load: bool) -> Table:
    """Name, package, what the data are, the shape of an input, and the outputs of a model."""
    table = _table("tasks", "name", "package", "data", "inputs", "outputs")
    for found in TASKS.installed().values():
        problem = _problem("tasks", found, load)
        if problem or not (load or found.package == "moebench"):
            table.add_row(Text(found.name), Text(found.package), _about(found, problem), "", "")
        else:
            info = get_task(found.name).info
            table.add_row(Text(found.name), Text(found.package), info.label, str(info.inputs), str(info.outputs))
    return table


def _plugins(kind: str, load: bool) -> Table:
    """Name, package, and what it is, or why it cannot be used."""
    table = _table(kind, "name", "package", "what it is")
    for found in PLUGINS[kind][0].installed().values():
        table.add_row(Text(found.name), Text(found.package), _about(found, _problem(kind, found, load)))
    return table


def _problem(kind: str, found: Found, load: bool) -> str:
    """Why a plug-in cannot be used; empty where it can, as far as is known without ``load``."""
    if (problem := found.problem or _missing_import(found)) or not load:
        return problem
    try:
        PLUGINS[kind][1](found)
    except MoebenchError as error:
        return str(error)
    return ""


def _about(found: Found, problem: str) -> Text:
    return Text(f"not usable: {problem}", style="red") if problem else Text(_summary(found))


def _tree(found: Found) -> ast.Module | None:
    if found.source is None:
        return None
    try:
        return ast.parse(found.source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _summary(found: Found) -> str:
    """The first paragraph of the docstring of the class or function, read from the source."""
    tree = _tree(found)
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == found.attribute:
            return _first_paragraph(ast.get_docstring(node))
    return _first_paragraph(ast.get_docstring(tree)) if tree else ""


def _first_paragraph(docstring: str | None) -> str:
    """On one line, without roles of reStructuredText; code in single quotes."""
    words = " ".join((docstring or "").partition("\n\n")[0].split())
    return re.sub(r"``([^`]+)``", r"'\1'", re.sub(r":\w+:`~?([^`]+)`", r"\1", words))


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


def _load_compressor(found: Found) -> object:
    from moebench.measures.compression import load_compressor

    return load_compressor(found.name)


PLUGINS: Mapping[str, tuple[PluginGroup, Callable[[Found], object]]] = {
    "variants": (VARIANTS, _load_variant),
    "tasks": (TASKS, lambda found: get_task(found.name)),
    "hosts": (HOSTS, lambda found: host_kind(found.name)),
    "measures": (MEASURES, lambda found: named.load(MEASURES, found.name)),
    "studies": (STUDIES, lambda found: named.load(STUDIES, found.name)),
    "backends": (BACKENDS, lambda found: load_backend(found.name)),
    "compressors": (COMPRESSORS, _load_compressor),
}
