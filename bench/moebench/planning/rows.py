"""The rows of a board: the suite's variants and references, and what a person added. Imports no variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from moebench.errors import PluginError, UnknownNameError, UsageError
from moebench.plugins.digest import code_digest
from moebench.plugins.find import Found, find_variant, find_variants
from moebench.suites import Suite

OBJECT = "object"
"""The spec of a row whose variant was given as a Python object; nothing can find it again."""

EMPTY: Mapping[str, str] = MappingProxyType({})

BASELINE = "dense"
"""Every row is compared with it, so it always runs."""


@dataclass(frozen=True)
class Row:
    """One row: its name on the board, the variant behind it, and whether this run works on it.

    spec: how to find the variant again. problem: why it cannot run, or empty. note: of a reference row.
    """

    name: str
    spec: str
    variant: str
    code_digest: str
    selected: bool = True
    reference: bool = False
    note: str = ""
    active_of: str | None = None
    problem: str = ""


def resolve_rows(
    suite: Suite, chosen: Sequence[str], extras: Sequence[str] = (), objects: Mapping[str, str] = EMPTY
) -> tuple[Row, ...]:
    """The suite's rows, then what was added; ``chosen`` (names or ``path.py:Class``) selects among them, or adds.

    ``objects`` are variants given as Python objects: name -> code digest.

    A misspelt name is an error; a plug-in that is there but broken is a row with its problem.
    """
    installed = find_variants()
    rows = [_row(name, name, installed, f"suite '{suite.name}'") for name in suite.variants]
    for reference in suite.reference:
        row = _row(reference.name, reference.variant, installed, f"suite '{suite.name}'")
        rows.append(replace(row, reference=True, note=reference.note, active_of=reference.active_of))
    names = {row.name for row in rows}
    for name, digest in objects.items():
        if name in names:
            raise UsageError(f"a variant calls itself '{name}', which the suite already has; rename it.")
        names.add(name)
        rows.append(Row(name, OBJECT, name, digest))
    for spec in dict.fromkeys([*extras, *chosen]):
        if spec in names:
            continue
        row = _extra(spec, installed, quiet=spec not in chosen)
        if row.name in names:
            raise UsageError(f"'{spec}' calls itself '{row.name}', which the suite already has; rename one.")
        names.add(row.name)
        rows.append(row)
    if not chosen:
        return tuple(replace(row, selected=row.spec not in extras) for row in rows)
    return tuple(replace(row, selected=_is_chosen(row, chosen)) for row in rows)


def _is_chosen(row: Row, chosen: Sequence[str]) -> bool:
    return row.name == BASELINE or row.name in chosen or any(find_spec(c) == row.spec for c in chosen)


def find_spec(spec: str) -> str:
    """The spelling under which a row remembers its variant: files by their whole path."""
    return find_variant(spec).spec if ".py" in spec or ":" in spec else spec


def _extra(spec: str, installed: dict[str, Found], *, quiet: bool) -> Row:
    """A row that a person added; one remembered from earlier must not stop a run when its file is gone."""
    try:
        found = find_variant(spec, installed)
    except (PluginError, UnknownNameError) as error:
        if not quiet:
            raise
        return Row(spec, spec, spec, "", problem=str(error))
    return _from_found(found, _declared_name(found))


def _row(name: str, variant: str, installed: dict[str, Found], where: str) -> Row:
    if ".py" in variant or ":" in variant:
        found = find_variant(variant)
        return _from_found(found, _declared_name(found))
    if variant not in installed:
        raise UnknownNameError("variant", variant, installed, where)
    return _from_found(installed[variant], name)


def _from_found(found: Found, name: str) -> Row:
    problem, digest = found.problem, ""
    if not problem:
        try:
            digest = code_digest(found)
        except PluginError as error:
            problem = str(error)
    return Row(name, found.spec, found.name, digest, problem=problem)


def _declared_name(found: Found) -> str:
    """The name that the class in a file gives itself, read without importing it; else the class's own name."""
    import ast

    if found.spec == found.name or found.source is None:
        return found.name
    try:
        tree = ast.parse(found.source.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return found.name
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == found.attribute:
            for statement in node.body:
                name = _assigned_name(statement)
                if name:
                    return name
    return found.name


def _assigned_name(statement: object) -> str:
    import ast

    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        target = statement.targets[0].id
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        target = statement.target.id
    else:
        return ""
    value = statement.value
    if target == "name" and isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return ""
