"""What the code of some classes and functions names, read from syntax trees and followed through the author's modules.

Only code that they reach counts: a file may also define a task, which reads data.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType

from moebench.errors import PluginError
from moebench.plugins.beside import BESIDE_PREFIX, FILE_PREFIX, FRAMEWORKS, is_beside
from moebench.plugins.find import constant_text
from moebench.plugins.identity import base_of_import, children_that_run, file_of, imported_by_call, parse, walk_run
from moebench.plugins.versions import version_of

TOLD = FRAMEWORKS | sys.stdlib_module_names
"""Packages whose code is not looked into."""

EVERYTHING = "*"
"""For all names of a module."""


@dataclass(frozen=True)
class Named:
    """A name that code uses: with its module in full (``sklearn.datasets.load_digits``), ``:name`` of the same module,
    or ``.attribute`` of any value; file and line.
    """

    dotted: str
    file: str
    line: int


def names_in(code: Iterable[type | FunctionType], own: Iterable[str]) -> Iterator[Named]:
    """Every name that these classes and functions reach. What they import is followed into the packages ``own`` and
    into those that have no version.
    """
    own = set(own) - TOLD
    waiting = [place for each in code if (place := _place_of(each, own))]
    seen = set[tuple[str, str | int]]()
    while waiting:
        module, name = waiting.pop()
        if (module.name, name) in seen:
            continue
        seen.add((module.name, name))
        for found in module.uses(name):
            here = found.dotted.partition(":")[2]
            if here:
                waiting.append((module, here))
                continue
            of_author = _top(found.dotted) in own or (module.beside and is_beside(found.dotted, module.beside))
            if not of_author:
                yield found
            if of_author or (not found.dotted.startswith(".") and _has_no_version(found.dotted)):
                waiting += _within(found.dotted, module)


def _has_no_version(module: str) -> bool:
    top = _top(module)
    return top not in TOLD and not version_of(top)


def _within(dotted: str, module: _Module) -> Iterator[tuple[_Module, str | int]]:
    """Where the author's code defines this: the longest part that is a module, and the name in it."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        path = file_of(name, module.beside)
        if path is not None:
            found = _module(name, path, module.beside if module.beside and is_beside(name, module.beside) else None)
            if found is not None and length < len(parts):
                yield found, parts[length]
            return


def _place_of(thing: type | FunctionType, own: set[str]) -> tuple[_Module, str | int] | None:
    """The module of a class or function, and the name of what defines it there, or the line where it has none."""
    loaded = sys.modules.get(thing.__module__)
    source = getattr(loaded, "__file__", None) or ""
    top = _top(thing.__module__)
    if not source.endswith(".py") or (top not in own and not _has_no_version(top)):
        return None
    name, beside = thing.__module__, None
    if name.startswith(FILE_PREFIX):
        name, beside = Path(source).stem, Path(source).parent
    elif name.startswith(BESIDE_PREFIX):
        folder, _, name = name.partition(".")
        beside = Path(next(iter(sys.modules[folder].__path__)))
    module = _module(name, Path(source), beside)
    outer = thing.__qualname__.partition(".")[0]
    if module is None:
        return None
    if isinstance(thing, FunctionType) and not module.binds(outer):
        return module, thing.__code__.co_firstlineno
    return module, outer


class _Module:
    """A module's statements by the names that they give or change, and what its imports give each name."""

    def __init__(self, name: str, path: Path, beside: Path | None) -> None:
        self.name, self.path, self.beside = name, path, beside
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.statements: dict[str, list[ast.stmt]] = defaultdict(list)
        self.imports: dict[str, list[Named]] = defaultdict(list)
        self.everything = list(_statements(parse(path).body))
        self.from_all: list[str] = []
        for statement in self.everything:
            for given in _given(statement):
                self.statements[given].append(statement)
            for node in walk_run(statement):
                self._import(node)

    def binds(self, name: str) -> bool:
        """Whether it is a name of the module."""
        return name in self.statements or name in self.imports

    def uses(self, name: str | int) -> Iterator[Named]:
        """What the statements of a name, or that of a line, use, and what the name is where it was imported."""
        if isinstance(name, int):
            wanted = [each for each in self.everything if each.lineno <= name <= (each.end_lineno or each.lineno)]
        else:
            wanted = self.everything if name == EVERYTHING else self.statements.get(name, [])
            yield from self.imports.get(name, ())
        for statement in wanted:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                yield from self._used(statement)

    def _used(self, node: ast.AST, local: frozenset[str] = frozenset()) -> Iterator[Named]:
        """local: names of the functions around the node, which are not the module's."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            local |= _local(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (named for _, named in self._imported(node))
            if isinstance(node, ast.Import):
                yield from (self._named(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Name) and node.id not in local:
            given = [f":{node.id}"] if self.binds(node.id) else [f"{module}.{node.id}" for module in self.from_all]
            yield from (self._named(each, node.lineno) for each in given)
        elif isinstance(node, ast.Attribute):
            yield from self._dotted(node, node.value, node.attr, local)
        elif isinstance(node, ast.Call):
            if called := imported_by_call(node):
                yield self._named(f"{called}.{EVERYTHING}", node.lineno)
            if ast.unparse(node.func) == "getattr" and len(node.args) > 1:
                yield from self._dotted(node, node.args[0], constant_text(node.args[1]), local)
        for child in children_that_run(node):
            yield from self._used(child, local)

    def _dotted(self, node: ast.expr, value: ast.expr, attribute: str, local: frozenset[str]) -> Iterator[Named]:
        """An attribute as an attribute, and in full where it is of what was imported."""
        yield self._named(f".{attribute}", node.lineno)
        text = ast.unparse(value)
        head, _, rest = text.partition(".")
        if text.replace(".", "").replace("_", "").isalnum() and head not in local:
            for named in self.imports.get(head, ()):
                yield self._named(".".join(filter(None, (named.dotted, rest, attribute))), node.lineno)

    def _import(self, node: ast.AST) -> None:
        for name, named in self._imported(node):
            if name == EVERYTHING:
                self.from_all.append(named.dotted)
            else:
                self.imports[name].append(named)

    def _imported(self, node: ast.AST) -> Iterator[tuple[str, Named]]:
        """(the name that an import gives, what it is)."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                dotted = alias.name if alias.asname else _top(alias.name)
                yield alias.asname or dotted, self._named(dotted, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = base_of_import(node, self.package)
            for alias in node.names:
                inside = base if alias.name == EVERYTHING else f"{base}.{alias.name}"
                yield alias.asname or alias.name, self._named(inside, node.lineno)

    def _named(self, dotted: str, line: int) -> Named:
        return Named(dotted, self.path.name, line)


@cache
def _read(name: str, path: Path, beside: Path | None, changed: int) -> _Module | None:
    try:
        return _Module(name, path, beside)
    except PluginError:
        return None


def _module(name: str, path: Path, beside: Path | None) -> _Module | None:
    """None where it is no Python that can be read, which its import says."""
    try:
        return _read(name, path, beside, path.stat().st_mtime_ns)
    except OSError:
        return None


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module, and of what stands under conditions there; not what runs only where it is the program."""
    for statement in body:
        if isinstance(statement, ast.If):
            if "__main__" not in ast.unparse(statement.test) and "TYPE_CHECKING" not in ast.unparse(statement.test):
                yield from _statements(statement.body)
            yield from _statements(statement.orelse)
        elif isinstance(statement, ast.Try):
            handled = [each for handler in statement.handlers for each in handler.body]
            yield from _statements([*statement.body, *handled, *statement.orelse, *statement.finalbody])
        else:
            yield statement


def _given(statement: ast.stmt) -> set[str]:
    """The names that a statement gives, or whose value it may change."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return set()
    targets: list[ast.AST] = [statement]
    if isinstance(statement, ast.Assign):
        targets = list(statement.targets)
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def _local(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> frozenset[str]:
    """Its arguments, and what it assigns."""
    found = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    shared = set[str]()
    for node in ast.walk(function):
        if isinstance(node, ast.Global | ast.Nonlocal):
            shared.update(node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found - shared)


def _top(module: str) -> str:
    return module.partition(".")[0]
