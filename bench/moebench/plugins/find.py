"""What is installed, read from metadata alone, and what a name or ``path.py:Class`` refers to."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path

from moebench.errors import PluginError, UnknownNameError
from moebench.files import read_bytes
from moebench.machine import Installation, installation
from moebench.text import told

LOG = logging.getLogger(__name__)

PLACE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)(\s*\[.*\])?")


@dataclass(frozen=True)
class Found:
    """A plug-in before it is imported.

    name: the entry point's, or the class's for a file. spec: what was asked for (a name, or ``path.py:Class``).
    package: who brings it. source: the file that defines it, if it is there. problem: why it cannot be used.
    """

    name: str
    spec: str
    package: str
    module: str
    attribute: str
    source: Path | None
    problem: str = ""

    @property
    def in_file(self) -> bool:
        """Whether it was named as ``path.py:Class`` rather than by an entry point."""
        return self.spec != self.name


@dataclass(frozen=True)
class PluginGroup:
    """One kind of plug-in. noun: what one is called. entry: the group of entry points."""

    noun: str
    entry: str

    def installed(self) -> dict[str, Found]:
        """Every installed plug-in by name; one that two packages bring has a problem naming both."""
        by_name: dict[str, list[_EntryPoint]] = defaultdict(list)
        for point in _points(self.entry, installation()):
            by_name[point.name].append(point)
        packages = sorted({point.package for points in by_name.values() for point in points})
        LOG.info("%ss of the installed packages: %s", self.noun, ", ".join(packages))
        return {name: _from_entry_points(self.noun, name, points) for name, points in sorted(by_name.items())}

    def find(self, spec: str, installed: Mapping[str, Found] | None = None) -> Found:
        """What a name or ``path.py:Name`` refers to; :class:`UnknownNameError` for a name that nothing has."""
        if is_place(spec):
            return _in_file(self.noun, spec)
        installed = self.installed() if installed is None else installed
        if spec not in installed:
            raise UnknownNameError(self.noun, spec, installed)
        return installed[spec]


VARIANTS = PluginGroup("variant", "moebench.variants")
BACKENDS = PluginGroup("backend", "moebench.backends")
COMPRESSORS = PluginGroup("compressor", "moebench.compressors")
TASKS = PluginGroup("task", "moebench.tasks")
HOSTS = PluginGroup("host", "moebench.hosts")
MEASURES = PluginGroup("measure", "moebench.measures")
STUDIES = PluginGroup("study", "moebench.studies")
GROUPS = (VARIANTS, BACKENDS, COMPRESSORS, TASKS, HOSTS, MEASURES, STUDIES)


def find_variants() -> dict[str, Found]:
    """Every installed variant by name."""
    return VARIANTS.installed()


def find_variant(spec: str, installed: Mapping[str, Found] | None = None) -> Found:
    """The variant that a name or ``path.py:Class`` refers to."""
    return VARIANTS.find(spec, installed)


def is_place(spec: str) -> bool:
    """Whether a plug-in is named by a file rather than by its name."""
    return ".py" in spec or ":" in spec


def declared(found: Found, name: str) -> str:
    """The string that a plug-in's text assigns to ``name``, read without importing it; empty where it assigns none.

    In the body of its class, or as an argument of the one call that makes it: ``mine = wrap(..., name="mine")``.
    """
    try:
        tree = ast.parse(read_bytes(found.source)) if found.source else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    values = (value for node in tree.body for value in _given(node, found.attribute, name))
    return next(filter(None, values), "")


def _given(node: ast.stmt, thing: str, name: str) -> Iterator[str]:
    if isinstance(node, ast.ClassDef) and node.name == thing:
        yield from (_string(statement, name) for statement in node.body)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and thing in map(ast.unparse, node.targets):
        yield from (constant_text(each.value) for each in node.value.keywords if each.arg == name)


def _string(statement: ast.stmt, name: str) -> str:
    """The value of ``name = "..."``."""
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return ""
    named = isinstance(target, ast.Name) and target.id == name
    return constant_text(statement.value) if named else ""


def constant_text(value: ast.expr | None) -> str:
    """A string that stands there; empty for anything else."""
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def locate(module: str) -> ModuleSpec | None:
    """Where a module lies, asked of the import system's finders; runs none of the packages above it."""
    try:
        return _ask_finders(module)
    except Exception:  # a finder that needs the parents imported, as for nested namespace packages
        return importlib.util.find_spec(module)


def _ask_finders(module: str) -> ModuleSpec | None:
    spec, places, name = None, None, ""
    for part in module.split("."):
        if spec is not None and places is None:
            return None  # a module that is no package has nothing below it
        name = f"{name}.{part}" if name else part
        finders = (finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next(filter(None, (find_spec(name, places) for find_spec in finders)), None)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    return spec


@dataclass(frozen=True)
class _EntryPoint:
    """An entry point: ``value`` is what follows its name, package who brings it."""

    name: str
    value: str
    package: str


@cache
def _points(group: str, installed: Installation) -> tuple[_EntryPoint, ...]:
    """Read once for as long as nothing is installed or removed: a worker has what its fork server has read."""
    return tuple(
        _EntryPoint(point.name, point.value, point.dist.name if point.dist is not None else "unknown")
        for point in entry_points(group=group)
    )


def _from_entry_points(noun: str, name: str, points: list[_EntryPoint]) -> Found:
    packages = sorted({point.package for point in points})
    point = min(points, key=lambda point: (point.package, point.value))
    place = PLACE.fullmatch(point.value)
    if place is None:
        problem = f"its entry point is '{point.value}', not of the form module:Class."
        return Found(name, name, ", ".join(packages), "", "", None, problem)
    source, problem = _source_of(place["module"])
    if len(packages) > 1:
        problem = f"the packages {' and '.join(packages)} both bring a '{name}'; uninstall one of them."
    elif len({p.value for p in points}) > 1:
        problem = f"the package {packages[0]} brings two {noun}s called '{name}'."
    return Found(name, name, ", ".join(packages), place["module"], place["attribute"], source, problem)


def _source_of(module: str) -> tuple[Path | None, str]:
    """The file of a module, or why there is none."""
    try:
        spec = locate(module)
    except Exception as error:
        return None, f"its package does not import ({told(error)})."
    if spec is None:
        return None, f"there is no module '{module}'."
    return (Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None), ""


def _in_file(noun: str, spec: str) -> Found:
    match = re.fullmatch(r"(?P<path>.+\.py):(?P<attribute>[A-Za-z_]\w*)", spec)
    if match is None:
        raise PluginError(f"'{spec}' is neither a {noun}'s name nor of the form path.py:Name.", code="plugin-spec-form")
    path = Path(match["path"]).expanduser()
    if not path.is_file():
        raise PluginError(f"there is no file '{path}' for '{spec}'.", code="no-plugin-file")
    path, attribute = path.resolve(), match["attribute"]
    _check_defined(path, attribute)
    return Found(attribute, f"{path}:{attribute}", str(path), path.stem, attribute, path)


def _check_defined(path: Path, attribute: str) -> None:
    """:class:`PluginError` where a file is seen to define other classes and no such name; else the import will tell."""
    try:
        tree = ast.parse(read_bytes(path))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    names = {name for node in ast.walk(tree) for name in _defined(node)}
    own = [name for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom) for name in _defined(node)]
    if own and attribute not in names and "*" not in names:
        near = difflib.get_close_matches(attribute, own, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(own)}."
        raise PluginError(f"'{path}' has no '{attribute}'; {hint}", code="no-such-name")


def _defined(node: ast.AST) -> list[str]:
    """The names that a statement gives, wherever it stands."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []
