"""What stands for a plug-in's code in the identity of a run.

A built-in declares a ``revision``, which stays as long as the code computes the same; the digits that belong to it are
in the tests' ``golden.json``. Any other plug-in has the digest of its code. The digest is read from the syntax trees,
without comments, docstrings and annotations, of the file that defines the plug-in and of every module that it imports,
directly or not, from its own package (for a single file: from beside it). What it imports from ``moevariants`` counts
by revision; any other package but the frameworks by its version, or by its code where it has none or was not installed
from a registry. What is imported by code that counts is treated alike.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from moebench.errors import PluginError
from moebench.files import read_bytes
from moebench.plugins.beside import BUILT_IN, FRAMEWORKS, file_beside, is_beside
from moebench.plugins.find import Found, constant_text, declared, locate
from moebench.plugins.versions import version_of

PARTS = "moevariants.parts"
"""Its ``REVISION`` is raised when a part computes something else."""

SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores", "annotation", "returns"})
"""Fields of a syntax tree that do not change what the code does."""


def code_identity(found: Found) -> str:
    """The revision of a built-in, else :func:`code_digest`; the same wherever the file lies."""
    return _revision(found) or code_digest(found)


def code_digest(found: Found) -> str:
    """Twenty hexadecimal digits that change when the code does; :class:`PluginError` where there is no Python file."""
    called = "" if found.in_file else found.module
    reached = {each.name: each for each in _reachable(found.module, _source_of(found), _beside(found))}
    reached[called] = reached.pop(found.module)
    total = _digest_of(reached)
    total.update(_spelled(packages_of(found)))
    total.update(found.attribute.encode())
    return total.hexdigest()[:20]


def packages_of(found: Found) -> dict[str, str]:
    """The packages that a plug-in imports, and those that they import where they count by code, without its own, the
    standard library and the frameworks: what it has of each, a version or a digest of code, by name; empty for a
    built-in.
    """
    return {} if _revision(found) else _packages(found.module, _source_of(found), _beside(found))


def _packages(module: str, source: Path, beside: Path | None) -> dict[str, str]:
    own = {_top(module)} if beside is None else set[str]()
    told = FRAMEWORKS | sys.stdlib_module_names | own | {BUILT_IN, ""}
    waiting = [each.outside for each in _reachable(module, source, beside)]
    versions, by_code, seen = dict[str, str](), dict[str, dict[str, _Reached]](), set[str]()
    while waiting:
        for name in sorted(waiting.pop() - seen):
            seen.add(name)
            top = _top(name)
            if top in told:
                continue
            if version := version_of(top):
                versions[top] = version
            elif reached := _readable(name):
                by_code.setdefault(top, {}).update(reached)
                waiting += [each.outside for each in reached.values()] + [{top}]
    versions |= {top: _digest_of(reached).hexdigest()[:20] for top, reached in by_code.items()}
    return dict(sorted(versions.items()))


def _readable(module: str) -> dict[str, _Reached]:
    """The modules that count of a package of others, from one on; none where that is not here, or not in Python."""
    path = file_of(module)
    try:
        return {each.name: each for each in _reachable(module, path, None)} if path else {}
    except PluginError:
        return {}


def files_beside(found: Found) -> dict[str, Path]:
    """The modules beside a plug-in's file that it imports, and the packages above them, by their path from there."""
    folder = _beside(found)
    if folder is None:
        return {}
    reached = _reachable(found.module, _source_of(found), folder)
    modules = [each.name for each in reached if each.name != found.module]
    above = {name.rsplit(".", up)[0] for name in modules for up in range(name.count(".") + 1)}
    files = filter(None, (file_beside(name, folder) for name in above))
    return {path.relative_to(folder).as_posix(): path for path in sorted(files)}


def _source_of(found: Found) -> Path:
    if found.source is None:
        raise PluginError(
            f"{found.spec}: its source is not a Python file, so its results cannot be identified.",
            code="source-not-python",
        )
    return found.source


def _beside(found: Found) -> Path | None:
    return found.source.parent if found.in_file and found.source else None


def module_digest(module: str, source: Path) -> str:
    """The digest of a module and of what it imports, as for a plug-in; of a built-in one, its revisions."""
    if _top(module) == BUILT_IN:
        return " ".join(_revisions(module))
    total = _digest_of({each.name: each for each in _reachable(module, source, None)})
    total.update(_spelled(_packages(module, source, None)))
    return total.hexdigest()[:20]


def _spelled(packages: Mapping[str, str]) -> bytes:
    return "\n".join(f"{name} {version}" for name, version in packages.items()).encode()


def _revision(found: Found) -> str:
    """What the class itself declares: a revision that is inherited belongs to another variant."""
    return declared(found, "revision") if not found.in_file and _top(found.module) == BUILT_IN else ""


def _digest_of(reached: Mapping[str, _Reached]) -> hashlib._Hash:
    """Of modules, each under the name by which it counts."""
    total = hashlib.sha256()
    for name, each in sorted(reached.items()):
        total.update(f"{name}\n{spelling(each.tree)}\n".encode())
    revisions = {revision for each in reached.values() for revision in each.revisions}
    total.update("\n".join(sorted(revisions)).encode())
    return total


@dataclass(frozen=True)
class _Reached:
    """A module that counts. revisions: of what it composes. outside: the modules of others that it imports."""

    name: str
    tree: ast.Module
    revisions: list[str]
    outside: set[str]


def _reachable(module: str, source: Path, beside: Path | None) -> Iterator[_Reached]:
    """Every module that counts; a file's own modules are those that lie ``beside`` it."""
    waiting, seen = [(module, source)], {module}
    while waiting:
        name, path = waiting.pop()
        reached = _Reached(name, parse(path), [], set())
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(reached.tree, package, beside):
            if _top(imported) == BUILT_IN != _top(module):
                reached.revisions.extend(_revisions(imported))
            elif not _counts(imported, module, beside):
                reached.outside.add(imported)
            elif imported not in seen and (found := file_of(imported, beside)):
                seen.add(imported)
                waiting.append((imported, found))
        yield reached


def _counts(imported: str, module: str, beside: Path | None) -> bool:
    return _top(imported) == _top(module) if beside is None else is_beside(imported, beside)


def _revisions(module: str) -> list[str]:
    """Of the parts, and of the plug-ins that a built-in module defines."""
    found = []
    for name, wanted in ((PARTS, "REVISION"), (module, "revision")):
        path = file_of(name)
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


def _imports(tree: ast.Module, package: str, beside: Path | None = None) -> Iterator[str]:
    """Absolute names of the modules that a module imports when it runs; a name that a package hands on is looked up."""
    for node in walk_run(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = base_of_import(node, package)
            yield from (_origin(base, alias.name, beside) for alias in node.names)
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            inside = name.lstrip(".")
            yield base_of_import(ast.ImportFrom(module=inside, names=[], level=len(name) - len(inside)), package)


def imported_by_call(node: ast.Call) -> str:
    """What ``importlib.import_module("name")`` or ``__import__("name")`` names; empty for any other call."""
    called = ast.unparse(node.func).rpartition(".")[2]
    first = node.args[0] if node.args else None
    return constant_text(first) if called in ("import_module", "__import__") else ""


def walk_run(node: ast.AST) -> Iterator[ast.AST]:
    """As ``ast.walk``, without what is there for type checkers alone."""
    yield node
    for child in children_that_run(node):
        yield from walk_run(child)


def children_that_run(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a syntax tree's node, without what is there for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield child


def base_of_import(node: ast.ImportFrom, package: str) -> str:
    """The module that ``from ... import`` names, in ``package``."""
    parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
    return ".".join(filter(None, (parent, node.module)))


def _origin(module: str, name: str, beside: Path | None) -> str:
    """The module that defines what ``from module import name`` gives."""
    if _top(module) in FRAMEWORKS:
        return module
    if file_of(f"{module}.{name}", beside):
        return f"{module}.{name}"
    path = file_of(module, beside)
    if path is not None and path.name == "__init__.py":
        for node in parse(path).body:
            if isinstance(node, ast.ImportFrom):
                given = next((alias.name for alias in node.names if name == (alias.asname or alias.name)), None)
                if given is not None and base_of_import(node, module) != module:
                    return _origin(base_of_import(node, module), given, beside)
    return module


def file_of(module: str, beside: Path | None = None) -> Path | None:
    """The Python file of a module, looked for ``beside`` a plug-in's file first; None where there is none."""
    if beside is not None and is_beside(module, beside):
        return file_beside(module, beside)
    try:
        spec = locate(module)
    except Exception:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
