"""Modules beside a plug-in's file: found as ``python layer.py`` finds them, and kept apart from those of other files.

A file imports ``helpers`` and gets the ``helpers.py`` of its own folder, under a name of its own in ``sys.modules``.
The standard library, the harness and the frameworks are never taken from there.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from moebench.records.canonical import digest

HARNESS = "moebench"
"""Covered by the protocol."""

BUILT_IN = "moevariants"
"""The package whose plug-ins declare revisions, and whose parts other authors compose."""

FRAMEWORKS = frozenset({HARNESS, "torch", "torchvision", "timm", "numpy", "scipy", "triton"})
"""Told by name: their versions are provenance, as for any variant."""

BESIDE_PREFIX = "moebench_beside_"

FILE_PREFIX = "moebench_file_"
"""Begins the name of a module that is a plug-in's file."""


def is_beside(module: str, folder: Path) -> bool:
    """Whether a file in ``folder`` gets this module, or the package above it, from there."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in FRAMEWORKS or top == BUILT_IN:
        return False
    return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()


def file_beside(module: str, folder: Path) -> Path | None:
    """The file of a module in ``folder``; None where it is a folder, or not there."""
    path = folder.joinpath(*module.split("."))
    found = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((each for each in found if each.is_file()), None)


def package_of(folder: Path) -> str:
    """The package under which this process has the modules of a folder; the same in every process."""
    return f"{BESIDE_PREFIX}{digest(str(folder), 12)}"


def builtins_for(folder: Path) -> Mapping[str, Any]:
    """``__builtins__`` of a module whose imports look into ``folder`` first."""
    package = package_of(folder)
    _open(package, folder)

    def find(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level or not is_beside(name, folder):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{package}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{package}.{name}")
        return sys.modules[f"{package}.{name.partition('.')[0]}"]

    return {**vars(builtins), "__import__": find}


def forget(folder: Path) -> None:
    """Import the modules of a folder anew when they are next asked for."""
    package = package_of(folder)
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


def _open(package: str, folder: Path) -> None:
    """The package that stands for a folder."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    if package not in sys.modules:
        spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[package] = importlib.util.module_from_spec(spec)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what is below such a package, and lets its imports look into the folder, too."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As the interpreter does for a package's folder."""
        if not name.startswith(BESIDE_PREFIX) or path is None:
            return None
        importlib.invalidate_caches()  # a helper may have been written since the folder was last looked at
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            top = sys.modules[name.partition(".")[0]]
            spec.loader = _Loader(spec.loader.name, spec.loader.path, Path(next(iter(top.__path__))))
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes the source, never byte code, which may be that of an edit within the same second."""

    def __init__(self, name: str, path: str, folder: Path) -> None:
        super().__init__(name, path)
        self.folder = folder

    def get_code(self, fullname: str) -> CodeType | None:
        """Compiled from the file as it is."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        """With imports that look into the folder."""
        vars(module)["__builtins__"] = builtins_for(self.folder)
        super().exec_module(module)
