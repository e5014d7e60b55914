"""Write the package of a new variant from templates: the names that it may have, and the class that goes with one."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from moebench.errors import UsageError
from moebench.plugins.find import find_variants

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""The rule that a variant's name is held to when it is loaded, known here without importing torch."""

USED_IN_TEMPLATE = frozenset({"Experts", "Layer", "LinearRouter", "LogUniform", "Routing", "Variant"})


def refuse_name(name: str) -> None:
    """:class:`UsageError` if a new variant cannot be called so."""
    if not NAME.fullmatch(name):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
        near = re.sub(r"\W+", "_", words).strip("_").lower()[:40]
        hint = f", such as '{near}'" if NAME.fullmatch(near) and not keyword.iskeyword(near) else ""
        raise UsageError(
            f"'{name}' is no name for a variant; use lower-case letters, digits and underscores, at most 40, "
            f"with a letter first{hint}.",
            code="package-name-form",
        )
    if keyword.iskeyword(name) or keyword.iskeyword(class_name(name)):
        raise UsageError(f"'{name}' is a word of Python's own; choose another name.", code="package-name-keyword")
    if name in find_variants():
        raise UsageError(
            f"'{name}' is taken: the package {find_variants()[name].package} brings a variant of that name.",
            code="package-name-installed",
        )
    if importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"'{name}' is taken: a Python module of that name can be imported already; choose another.",
            code="package-name-importable",
        )


def class_name(name: str) -> str:
    """``my_layer`` -> ``MyLayer``; one that the new module uses itself gets ``Variant`` at its end."""
    words = "".join(part.capitalize() for part in name.split("_"))
    return f"{words}Variant" if words in USED_IN_TEMPLATE else words


TEMPLATES: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml.jinja",
    "README.md": "README.md.jinja",
    "src/{name}/__init__.py": "package.py.jinja",
    "src/{name}/layer.py": "layer.py.jinja",
    "tests/test_{name}.py": "test.py.jinja",
}
"""File of the new package -> its template in the folder ``templates``."""


def write_package(name: str, directory: Path | None = None) -> list[Path]:
    """Write a package ``name`` into ``directory`` (``./name``); the files, in the order in which to read them.

    :class:`UsageError` if the name is bad or taken, or the directory has something in it.
    """
    refuse_name(name)
    directory = Path(name) if directory is None else directory.expanduser()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(
            f"'{directory}' exists already; name an empty or new one with --directory.", code="directory-exists"
        )
    files = {directory / place.format(name=name): _render(which, name) for place, which in TEMPLATES.items()}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write '{error.filename}' ({error.strerror}); name another place with --directory.",
            code="package-not-written",
        ) from error
    return list(files)


def _render(template: str, name: str) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("moebench.plugins.new"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Python and TOML, not HTML.
    )
    return environment.get_template(template).render(
        name=name, class_name=class_name(name), version=version("moebench")
    )
