"""Names of metrics and parameters as MLflow takes them, whatever a variant calls itself or its settings."""

from __future__ import annotations

import dataclasses
import posixpath
import re

from moebench.runs.canonical import digest
from moebench.tracking.content import Content, shortened

LENGTH = 250
"""MLflow takes no longer name."""

VALUE_LENGTH = 5000
"""Of a parameter or a tag: MLflow refuses longer ones, or cuts them in silence."""


def key(name: str) -> str:
    """The name itself where MLflow takes it; else what can be kept of it, ended by its digest so that two stay two."""
    if re.fullmatch(r"[\w\-./: ]+", name, re.ASCII) and len(name) <= LENGTH and _is_path(name):
        return name
    parts = [re.sub(r"[^\w\-.: ]", "_", part, flags=re.ASCII).strip(". ") for part in name.split("/")]
    kept = "/".join(filter(None, parts))[: LENGTH - 9].rstrip("/. ")
    return f"{kept}_{digest(name, 8)}".lstrip("_")


def with_keys(content: Content) -> Content:
    """The content under names, and in texts of a length, that MLflow takes."""
    return dataclasses.replace(
        content,
        name=shortened(content.name, LENGTH),
        tags={key(name): shortened(value, VALUE_LENGTH) for name, value in content.tags.items()},
        params={key(name): shortened(value, VALUE_LENGTH) for name, value in content.params.items()},
        metrics={key(name): value for name, value in content.metrics.items()},
        curves=tuple(point._replace(name=key(point.name)) for point in content.curves),
    )


def _is_path(name: str) -> bool:
    """MLflow keeps names as paths: no empty part, no going up, no leading or trailing slash."""
    return posixpath.normpath(name) == name and name != "." and not name.startswith(("/", ".."))
