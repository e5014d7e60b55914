"""The digest of a variant's code: what it does, not how it is written down.

Read from the syntax trees without comments and docstrings, of the file that defines the variant and of every module
that it imports, directly or not, from its own package (for a single file: from beside it) or from ``moevariants``.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from moebench.errors import PluginError
from moebench.plugins.find import Found, locate

SHARED_PARTS = "moevariants"
"""Parts that strangers compose: a change in them changes the stranger's layer."""

HARNESS = "moebench"
"""Covered by the protocol."""

SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields of a syntax tree that say nothing about what the code does."""


def code_digest(found: Found) -> str:
    """Twenty hexadecimal digits that change when the variant's code does; the same wherever its file lies."""
    if found.source is None:
        raise PluginError(f"{found.spec}: its source is not a Python file, so its results cannot be identified.")
    beside = found.source.parent if found.in_file else None
    total = _digest_of(found.module, found.source, "" if found.in_file else found.module, beside)
    total.update(found.attribute.encode())
    return total.hexdigest()[:20]


def module_digest(module: str, source: Path) -> str:
    """The digest of a module and of what it imports from its own package."""
    return _digest_of(module, source, module, None).hexdigest()[:20]


def _digest_of(module: str, source: Path, called: str, beside: Path | None) -> hashlib._Hash:
    trees = dict(_reachable(module, source, beside))
    trees[called] = trees.pop(module)
    total = hashlib.sha256()
    for name, tree in sorted(trees.items()):
        total.update(f"{name}\n{spelling(tree)}\n".encode())
    return total


def _reachable(module: str, source: Path, beside: Path | None) -> Iterator[tuple[str, ast.Module]]:
    """Every module that counts, with its tree. A file's own modules are those that lie ``beside`` it."""
    waiting, seen = [(module, source)], {module}
    while waiting:
        name, path = waiting.pop()
        tree = parse(path)
        yield name, tree
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(tree, package):
            if imported not in seen and _counts(imported, module, beside) and (found := _file_of(imported)):
                seen.add(imported)
                waiting.append((imported, found))


def _counts(imported: str, module: str, beside: Path | None) -> bool:
    top = imported.partition(".")[0]
    if top == SHARED_PARTS or beside is None:
        return top in (SHARED_PARTS, module.partition(".")[0])
    own = (beside / f"{top}.py", beside / top / "__init__.py")
    return top != HARNESS and _file_of(top) in own


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file; :class:`PluginError` if it is not Python."""
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        raise PluginError(f"'{path}' is not valid Python{line} ({error.msg}).") from error
    except (ValueError, RecursionError) as error:
        raise PluginError(f"'{path}' is not valid Python ({error}).") from error
    except OSError as error:
        raise PluginError(f"'{path}' cannot be read ({error.strerror}).") from error


def spelling(node: object) -> str:
    """A syntax tree as text, the same under every version of Python that can read it.

    Left out: strings that stand alone (docstrings), ``pass``, and fields that are empty, for which versions differ.
    """
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.AST):
        fields = ((name, _without_silence(value)) for name, value in ast.iter_fields(node) if name not in SILENT)
        told = ",".join(f"{name}={spelling(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({told})"
    if isinstance(node, list):
        return f"[{','.join(map(spelling, node))}]"
    return repr(node)


def _without_silence(value: object) -> object:
    """A list of statements without those that do nothing."""
    if not isinstance(value, list):
        return value
    return [item for item in value if not isinstance(item, ast.Pass) and not _is_docstring(item)]


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


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
        spec = locate(module)
    except Exception:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
