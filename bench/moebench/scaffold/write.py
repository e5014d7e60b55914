"""Render the templates and write the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moebench import __version__
from moebench.errors import UsageError
from moebench.scaffold.names import class_name, refuse_name

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
        raise UsageError(f"'{directory}' exists already; name an empty or new one with --directory.")
    files = {directory / place.format(name=name): _render(which, name) for place, which in TEMPLATES.items()}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write '{error.filename}' ({error.strerror}); name another place with --directory."
        ) from error
    return list(files)


def _render(template: str, name: str) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("moebench.scaffold"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Python and TOML, not HTML.
    )
    return environment.get_template(template).render(name=name, class_name=class_name(name), version=__version__)
