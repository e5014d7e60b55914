"""What is installed, read from metadata alone, and what a name or ``path.py:Class`` refers to."""

from __future__ import annotations

import importlib.util
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from moebench.errors import PluginError, UnknownNameError

VARIANTS = "moebench.variants"
BACKENDS = "moebench.backends"


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


def find_variants() -> dict[str, Found]:
    """Every installed variant by name; one that two packages bring has a problem naming both."""
    return _installed(VARIANTS)


def find_backends() -> dict[str, Found]:
    """Every installed backend of the expert computation by name."""
    return _installed(BACKENDS)


def find_variant(spec: str, installed: Mapping[str, Found] | None = None) -> Found:
    """What a name or ``path.py:Class`` refers to; :class:`UnknownNameError` for a name that nothing has."""
    if ".py" in spec or ":" in spec:
        return _in_file(spec)
    installed = find_variants() if installed is None else installed
    if spec not in installed:
        raise UnknownNameError("variant", spec, installed)
    return installed[spec]


def _installed(group: str) -> dict[str, Found]:
    by_name: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in set(entry_points(group=group)):
        by_name[point.name].append(point)
    return {name: _from_entry_points(name, points) for name, points in sorted(by_name.items())}


def _from_entry_points(name: str, points: list[EntryPoint]) -> Found:
    packages = sorted({_package(point) for point in points})
    point = min(points, key=_package)
    module, _, attribute = point.value.partition(":")
    problem = ""
    if len({(p.value, _package(p)) for p in points}) > 1:
        problem = f"the packages {' and '.join(packages)} both bring a '{name}'; uninstall one of them."
    source = None
    if not problem:
        source, problem = _source_of(module)
    return Found(name, name, ", ".join(packages), module, attribute, source, problem)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def _source_of(module: str) -> tuple[Path | None, str]:
    """The file of a module, found without running it (its parent packages are imported)."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:
        return None, f"its package does not import ({type(error).__name__}: {error})."
    if spec is None:
        return None, f"there is no module '{module}'."
    return (Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None), ""


def _in_file(spec: str) -> Found:
    match = re.fullmatch(r"(?P<path>.+\.py):(?P<attribute>[A-Za-z_]\w*)", spec)
    if match is None:
        raise PluginError(f"'{spec}' is neither a variant's name nor of the form path.py:Class.")
    path = Path(match["path"]).expanduser()
    if not path.is_file():
        raise PluginError(f"there is no file '{path}' for '{spec}'.")
    path = path.resolve()
    return Found(match["attribute"], f"{path}:{match['attribute']}", str(path), path.stem, match["attribute"], path)
