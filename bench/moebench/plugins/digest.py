"""The digest of a variant's code: what it does, not how it is written down.

Read from the syntax trees without comments and docstrings, of the file that defines the variant and of every module
that it imports, directly or not, from its own package or from the public parts of another variant's package.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from moebench.errors import PluginError
from moebench.plugins.find import Found

SHARED_PARTS = "moevariants"
"""Parts that strangers compose: a change in them changes the stranger's layer."""


def code_digest(found: Found) -> str:
    """Twenty hexadecimal digits that change when the variant's code does."""
    if found.source is None:
        raise PluginError(f"{found.spec}: its source is not a Python file, so its results cannot be identified.")
    trees = dict(sorted(_reachable(found.module, found.source)))
    total = hashlib.sha256()
    for module, tree in trees.items():
        total.update(f"{module}\n{ast.dump(tree)}\n".encode())
    total.update(found.attribute.encode())
    return total.hexdigest()[:20]


def object_digest(variant: object) -> str:
    """The digest of a variant that is an object in memory: of its pickle, which carries its classes with it."""
    import cloudpickle

    return hashlib.sha256(cloudpickle.dumps(variant)).hexdigest()[:20]


def _reachable(module: str, source: Path) -> Iterator[tuple[str, ast.Module]]:
    own = {module.partition(".")[0], SHARED_PARTS}
    waiting, seen = [(module, source)], set()
    while waiting:
        name, path = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        tree = strip(parse(path))
        yield name, tree
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(tree, package):
            if imported.partition(".")[0] in own and (found := _file_of(imported)):
                waiting.append((imported, found))


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file; :class:`PluginError` if it is not Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise PluginError(f"'{path}' is not valid Python{line} ({error.args[0]}).") from error


def strip(tree: ast.Module) -> ast.Module:
    """The tree without docstrings (comments are not in it anyway)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Absolute names of what a module imports; ``from a import b`` names both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (parent, node.module)))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
