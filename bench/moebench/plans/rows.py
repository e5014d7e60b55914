"""The rows of a board: the suite's variants and references, and what a person added. Imports no variant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from moebench.errors import PluginError, UnknownNameError, UsageError
from moebench.frames import Frame
from moebench.plugins.find import Found, declared, find_variant, find_variants, is_place
from moebench.plugins.identity import code_identity
from moebench.plugins.imports import is_own
from moebench.suites import Suite
from moebench.text import printable, web_address

OBJECT = "object"
"""The spec of a row whose variant was given as a Python object; nothing can find it again."""

EMPTY: Mapping[str, str] = MappingProxyType({})

BASELINE = "dense"
"""Every row is compared with it, so it always runs."""


@dataclass(frozen=True)
class Row:
    """One row: its name on the board, the variant behind it, and whether this run works on it.

    name: of a variant from a file the one that it gives itself, which may be known only once it is imported; unless
    ``named``, by the suite. spec: how to find the variant again. problem: why it cannot run, or empty; frames: where
    that was raised. note: of a reference row. ladder: the size of a row of the suite's dense ladder, which has no place
    on the board; 0: none. paper, code, author: what the text of another author's variant gives, as it gives it.
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
    named: bool = False
    ladder: int = 0
    paper: str = ""
    code: str = ""
    author: str = ""
    frames: Sequence[Frame] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Row:
        """The inverse of ``dataclasses.asdict`` after a journey through JSON."""
        return cls(**value | {"frames": tuple(value.get("frames", ()))})

    @property
    def key(self) -> str:
        """What tells it from the other rows before its variant is imported."""
        return self.name if self.named or self.spec == OBJECT else self.spec


SOURCES = ("paper", "code", "author")
"""What a variant may say of where it comes from."""

LONGEST_AUTHOR = 80
"""Letters of an author's name that boards show."""


def sources_of(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """By row the https addresses of its paper and code, and its author, empty where there is none: of moebench's own
    variants as they give them now, of others those of the plan.
    """
    own = {name: found for name, found in find_variants().items() if is_own(found)}
    sources = {}
    for row in rows:
        given = {each: declared(own[row.spec], each) if row.spec in own else getattr(row, each) for each in SOURCES}
        author = printable(str(given.pop("author")))[:LONGEST_AUTHOR] or ("moebench" if row.spec in own else "")
        sources[row.name] = {"author": author} | {each: web_address(address) for each, address in given.items()}
    return sources


def resolve_rows(
    suite: Suite, chosen: Sequence[str], extras: Sequence[str] = (), objects: Mapping[str, str] = EMPTY
) -> tuple[Row, ...]:
    """The suite's rows, then what was added, by name; ``chosen`` (names or ``path.py:Class``) selects or adds rows.

    ``objects`` are variants given as Python objects: name -> code digest. ``extras`` are remembered from earlier
    runs: they are shown, and run only if they are chosen.

    A variant from a file goes by the name that its text assigns, else by that of the class or object, until it is
    imported (:func:`named_by_variants`). A misspelt name is an error; a plug-in that is there but broken is a row with
    its problem.
    """
    installed = find_variants()
    rows = [*_suite_rows(suite, installed), *_object_rows(suite, objects)]
    own = {row.name for row in rows}
    own_files = {row.spec for row in rows if is_place(row.spec)}
    wanted = {find_spec(spec) for spec in chosen}
    added: dict[str, Row] = {}
    for spec in [*chosen, *extras]:
        whole = find_spec(spec, quiet=True)
        if spec in own or whole in own_files or whole in {row.spec for row in added.values()}:
            continue
        asked_for = spec in chosen
        row = _apart(_extra(spec, installed, own, quiet=not asked_for), {*own, *added})
        if row.name in own or row.name in added:
            if asked_for:
                raise _taken(spec, row.name)
            continue  # what was remembered gives way
        added[row.name] = row
    own_rows = [replace(row, selected=not chosen or _is_chosen(row, chosen)) for row in rows]
    return (*own_rows, *(replace(row, selected=row.spec in wanted) for _, row in sorted(added.items())))


def named_by_variants(rows: Sequence[Row], remembered: Collection[str] = ()) -> tuple[Row, ...]:
    """Rows whose variants are imported, each under the name that the variant gives itself.

    ``remembered`` are specs of rows from earlier runs, which give way where another row has their name.
    :class:`UsageError` where two others have one name.
    """
    named = [named_by_variant(row) for row in rows]
    keepers: dict[str, Row] = {}
    for row in sorted(named, key=lambda row: _gives_way(row, remembered)):
        if keepers.setdefault(row.name, row) is not row and not _gives_way(row, remembered):
            raise _taken(row.spec, row.name)
    return tuple(row for row in named if keepers[row.name] is row)


def _gives_way(row: Row, remembered: Collection[str]) -> bool:
    return row.spec in remembered and not row.selected


def named_by_variant(row: Row) -> Row:
    """A row whose variant is imported, under the name that the variant gives itself."""
    in_file = is_place(row.spec) and not row.named and not row.problem
    return replace(row, name=row.variant) if in_file else row


def _apart(row: Row, names: Collection[str]) -> Row:
    """A row under its file where its name is taken and may turn out to be another."""
    return replace(row, name=row.spec) if row.name in names and row.name == row.variant and is_place(row.spec) else row


def _taken(spec: str, name: str) -> UsageError:
    return UsageError(
        f"'{spec}' calls itself '{name}', which the suite already has; rename one.", code="added-name-taken", name=name
    )


def _suite_rows(suite: Suite, installed: dict[str, Found]) -> list[Row]:
    where = f"suite '{suite.name}'"
    rows = list[Row]()
    for name in suite.variants:
        rows.append(_apart(_row(name, name, installed, where), {row.name for row in rows}))
    for ranked in suite.ranked:
        rows.append(replace(_row(ranked.name, ranked.variant, installed, where), name=ranked.name, named=True))
    for reference in suite.reference:
        row = _row(reference.name, reference.variant, installed, where)
        row = replace(row, name=reference.name, named=True, reference=True)
        rows.append(replace(row, note=reference.note, active_of=reference.active_of))
    for name, size in suite.ladder_rows.items():
        row = _row(name, BASELINE, installed, where)
        rows.append(replace(row, name=name, named=True, reference=True, note="size of the dense ladder", ladder=size))
    return rows


def _object_rows(suite: Suite, objects: Mapping[str, str]) -> list[Row]:
    taken = {*suite.variants, *(each.name for each in suite.named), *suite.ladder_rows}
    for name in objects:
        if name in taken:
            raise UsageError(
                f"a variant calls itself '{name}', which the suite already has; rename it.", code="name-taken-by-suite"
            )
    return [Row(name, OBJECT, name, digest) for name, digest in objects.items()]


def _is_chosen(row: Row, chosen: Sequence[str]) -> bool:
    """Whether a row of the suite is worked on: by its name, by its file, or because all is compared with it."""
    by_file = is_place(row.spec) and any(find_spec(each) == row.spec for each in chosen)
    return row.name in (BASELINE, *chosen) or bool(row.ladder) or row.spec == OBJECT or by_file


def find_spec(spec: str, *, quiet: bool = False) -> str:
    """The spelling under which a row remembers its variant: files by their whole path. quiet: it may be gone."""
    if not is_place(spec):
        return spec
    try:
        return find_variant(spec).spec
    except PluginError:
        if not quiet:
            raise
        return spec


def _extra(spec: str, installed: Mapping[str, Found], own: Collection[str], *, quiet: bool) -> Row:
    """A row that a person added; one remembered from earlier must not stop a run when its file is gone."""
    try:
        if not is_place(spec) and spec not in installed:
            raise UnknownNameError("variant", spec, {*installed, *own})
        found = find_variant(spec, installed)
    except (PluginError, UnknownNameError) as error:
        if not quiet:
            raise
        return Row(spec, spec, spec, "", problem=str(error))
    return _from_found(found, _declared_name(found))


def _row(name: str, variant: str, installed: Mapping[str, Found], where: str) -> Row:
    if is_place(variant):
        found = find_variant(variant)
        return _from_found(found, _declared_name(found))
    if variant not in installed:
        raise UnknownNameError("variant", variant, installed, where)
    return _from_found(installed[variant], name)


def _from_found(found: Found, name: str) -> Row:
    problem, digest = found.problem, ""
    if not problem:
        try:
            digest = code_identity(found)
        except PluginError as error:
            problem = str(error)
    paper, code, author = ("" if is_own(found) else declared(found, each) for each in SOURCES)
    return Row(name, found.spec, found.name, digest, problem=problem, paper=paper, code=code, author=author)


def _declared_name(found: Found) -> str:
    """The name that the class in a file gives itself, read without importing it; else the class's own name."""
    return (found.in_file and declared(found, "name")) or found.name


def by_others(rows: Iterable[Row]) -> list[Row]:
    """Those of other authors' code, which ``moebench check`` is for; moebench's own is checked by its tests."""
    installed = find_variants()
    return [row for row in rows if _is_anothers(row, installed)]


def _is_anothers(row: Row, installed: Mapping[str, Found]) -> bool:
    if row.spec == OBJECT or is_place(row.spec):
        return True
    return row.spec not in installed or not is_own(installed[row.spec])  # it may not be installed here
