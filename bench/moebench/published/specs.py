"""Where the variant of a published row lies: a name, or a file beside the records."""

from __future__ import annotations

import re

VARIANTS = "variants"
"""Folder of the files that rows were given by."""

_IN_FILE = re.compile(rf"({VARIANTS}/[^/:\\]+\.py):[A-Za-z_]\w*", re.ASCII)


def file_of(spec: str) -> str | None:
    """``variants/mine.py`` of ``variants/mine.py:Mine``, relative to the published directory; None for any other."""
    match = _IN_FILE.fullmatch(spec)
    return match[1] if match else None
