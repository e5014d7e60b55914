"""What stands for a plug-in's code in the identity of a run.

A built-in declares a ``revision``, which stays as long as the code computes the same; the digits that belong to it are
in the tests' ``golden.json``. Any other plug-in has the digest of its code. The digest is read from the syntax trees,
without comments, docstrings and annotations, of the file that defines the plug-in and of every module that it imports,
directly or not, from its own package (for a single file: from beside it). What it imports from ``moevariants`` counts
by revision.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from moebench.errors import PluginError
from moebench.files import read_bytes
from moebench.plugins.find import Found, declared, locate

BUILT_IN = "moevariants"
"""The package whose plug-ins declare revisions, and whose parts other authors compose."""

PARTS = "moevariants.parts"
"""Its ``REVISION`` is raised when a part computes something else."""

HARNESS = "moebench"
"""Covered by the protocol."""

SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores", "annotation", "returns"})
"""Fields of a syntax tree that do not change what the code does."""


def code_identity(found: Found) -> str:
    """The revision of a built-in, else :func:`code_digest`; the same wherever the file lies."""
    return _revision(found) or code_digest(found)


def code_digest(found: Found) -> str:
    """Twenty hexadecimal digits that change when the code does; :class:`PluginError` where there is no Python file."""
    if found.source is None:
        raise PluginError(
            f"{found.spec}: its source is not a Python file, so its results cannot be identified.",
            code="source-not-python",
        )
    beside = found.source.parent if found.in_file else None
    total = _digest_of(found.module, found.source, "" if found.in_file else found.module, beside)
    total.update(found.attribute.encode())
    return total.hexdigest()[:20]


def module_digest(module: str, source: Path) -> str:
    """The digest of a module and of what it imports from its own package; of a built-in one, its revisions."""
    if _top(module) == BUILT_IN:
        return " ".join(_revisions(module))
    return _digest_of(module, source, module, None).hexdigest()[:20]


def _revision(found: Found) -> str:
    """What the class itself declares: a revision that is inherited belongs to another variant."""
    return declared(found, "revision") if not found.in_file and _top(found.module) == BUILT_IN else ""


def _digest_of(module: str, source: Path, called: str, beside: Path | None) -> hashlib._Hash:
    trees, revisions = {}, set[str]()
    for name, tree, composed in _reachable(module, source, beside):
        trees[name] = tree
        revisions.update(composed)
    trees[called] = trees.pop(module)
    total = hashlib.sha256()
    for name, tree in sorted(trees.items()):
        total.update(f"{name}\n{spelling(tree)}\n".encode())
    total.update("\n".join(sorted(revisions)).encode())
    return total


def _reachable(module: str, source: Path, beside: Path | None) -> Iterator[tuple[str, ast.Module, list[str]]]:
    """Every module that counts, with its tree and the revisions of what it composes.

    A file's own modules are those that lie ``beside`` it.
    """
    waiting, seen = [(module, source)], {module}
    while waiting:
        name, path = waiting.pop()
        tree, revisions = parse(path), list[str]()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(tree, package):
            if _top(imported) == BUILT_IN != _top(module):
                revisions += _revisions(imported)
            elif imported not in seen and _counts(imported, module, beside) and (found := _file_of(imported)):
                seen.add(imported)
                waiting.append((imported, found))
        yield name, tree, revisions


def _counts(imported: str, module: str, beside: Path | None) -> bool:
    top = _top(imported)
    if beside is None:
        return top == _top(module)
    own = (beside / f"{top}.py", beside / top / "__init__.py")
    return top != HARNESS and _file_of(top) in own


def _revisions(module: str) -> list[str]:
    """Of the parts, and of the plug-ins that a built-in module defines."""
    found = []
    for name, wanted in ((PARTS, "REVISION"), (module, "revision")):
        path = _file_of(name)
        assigned = (_assigned(node, wanted) for node in ast.walk(parse(path))) if path else ()
        found += sorted(filter(None, assigned))
    return found


def _assigned(node: ast.AST, name: str) -> str:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
        return ""
    names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    return str(node.value.value) if name in names else ""


def _top(module: str) -> str:
    return module.partition(".")[0]


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file; :class:`PluginError` if it is not Python."""
    try:
        return ast.parse(read_bytes(path))
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        raise PluginError(f"'{path}' is not valid Python{line} ({error.msg}).", code="not-python-line") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise PluginError(f"'{path}' is not valid Python ({error}).", code="not-python") from error
    except OSError as error:
        raise PluginError(f"'{path}' cannot be read ({error.strerror}).", code="source-unreadable") from error


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
    """Absolute names of the modules that a module imports when it runs; a name that a package hands on is looked up."""
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            yield from (_origin(base, alias.name) for alias in node.names)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """As ``ast.walk``, without what is there for type checkers alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield from _walk(child)


def _base(node: ast.ImportFrom, package: str) -> str:
    """The module that ``from ... import`` names, in ``package``."""
    parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
    return ".".join(filter(None, (parent, node.module)))


def _origin(module: str, name: str) -> str:
    """The module that defines what ``from module import name`` gives."""
    if _file_of(f"{module}.{name}"):
        return f"{module}.{name}"
    path = _file_of(module)
    if path is not None and path.name == "__init__.py":
        for node in parse(path).body:
            if isinstance(node, ast.ImportFrom):
                given = next((alias.name for alias in node.names if name == (alias.asname or alias.name)), None)
                if given is not None and _base(node, module) != module:
                    return _origin(_base(node, module), given)
    return module


def _file_of(module: str) -> Path | None:
    try:
        spec = locate(module)
    except Exception:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
