"""What is installed of a package that a plug-in imports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from moebench.errors import PluginError
from moebench.machine import Installation, installation
from moebench.plugins.find import locate


def version_of(top: str, code_of: Callable[[str, Path], str]) -> str:
    """The version of the distribution that brings a package; of one that is edited in place, or that none brings, the
    digest of its code by ``code_of(module, file)``; empty where it is not here.
    """
    for name in sorted(set(_distributions(installation()).get(top, ()))):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if not _edited_in_place(found):
            return found.version
    try:
        spec = locate(top)
        return code_of(top, Path(spec.origin)) if spec and spec.origin and spec.origin.endswith(".py") else ""
    except (PluginError, ImportError, ValueError):
        return ""


@cache
def _distributions(installed: Installation) -> Mapping[str, list[str]]:
    return packages_distributions()


def _edited_in_place(found: Distribution) -> bool:
    try:
        about = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(about.get("dir_info", {}).get("editable"))
