"""What is installed of a package that a plug-in imports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions

from moebench.machine import Installation, installation


def version_of(top: str) -> str:
    """The version of the distribution that brings a package; empty where none does, or where it was not installed from
    a registry: its code may then change under one version.
    """
    for name in sorted(set(_distributions(installation()).get(top, ()))):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if not _from_elsewhere(found):
            return found.version
    return ""


@cache
def _distributions(installed: Installation) -> Mapping[str, list[str]]:
    return packages_distributions()


def _from_elsewhere(found: Distribution) -> bool:
    """Whether a folder, editable or not, a repository or a file was installed. Packages of conda are releases, although
    many name the folder in which they were built.
    """
    if (found.read_text("INSTALLER") or "").strip() == "conda":
        return False
    try:
        return bool(json.loads(found.read_text("direct_url.json") or "{}"))
    except ValueError:
        return False
