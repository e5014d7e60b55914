"""Seeds derive from what is run, never from the variant, so that all variants meet the same draws."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: str | int) -> int:
    """A 31-bit seed from (task, kind, index); the same parts give the same seed on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
