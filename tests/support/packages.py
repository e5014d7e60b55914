"""Packages and files of plug-ins, written into a directory as an installer would leave them."""

from __future__ import annotations

import sys
import textwrap

VARIANT = '''
from moebench.contract import Variant


class Mine(Variant):
    """A layer of a stranger's."""

    name = "mine"
    causal = False

    def build(self, shape, size):
        from moevariants.dense import DenseLayer

        return DenseLayer(shape, size)
'''


def variant(**changes):
    """The source of a variant; each change replaces a piece of it: ``name='"other"'`` or ``causal="3"``."""
    source = VARIANT
    for name, value in changes.items():
        line = next(line for line in VARIANT.splitlines() if line.strip().startswith(f"{name} ="))
        source = source.replace(line, f"    {name} = {value}")
    return source


class Site:
    """A directory on ``sys.path`` with installed packages."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        before = set(sys.modules)
        monkeypatch.syspath_prepend(str(folder))
        self.brought = lambda: set(sys.modules) - before

    def write(self, path, source):
        """A module, dedented, with the packages above it."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        for package in target.relative_to(self.folder).parents:
            init = self.folder / package / "__init__.py"
            if package.name and not init.exists():
                init.write_text("")
        target.write_text(textwrap.dedent(source))
        return target

    def install(self, package, variants, group="moebench.variants"):
        """The metadata of a package whose entry points are ``variants``: name -> module:Class, or lines of them."""
        info = self.folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {place}" for name, place in variants.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
