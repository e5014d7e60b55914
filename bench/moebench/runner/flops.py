"""FLOPs of a model's expert layers, counted once for all runs of one results directory that build the same layers.

Counting builds each layer a second time and sends one input through its loop of experts: seconds for large layers.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from moebench import machine
from moebench.budgets import flops_of_layers
from moebench.contract import LayerShape, Variant
from moebench.files import read_text
from moebench.records.canonical import canonical_json, digest
from moebench.records.store import parse_json, write_atomic

LOG = logging.getLogger(__name__)


def kept_flops(
    folder: Path | None,
    code: str,
    variant: Variant,
    shapes: Sequence[LayerShape],
    sizes: Sequence[int],
    settings: Mapping[str, float],
) -> int:
    """As :func:`~moebench.budgets.flops_of_layers`, per input; kept in a file of ``folder``, unless that is None.

    code: the variant's identity. A file is used where that, the shapes, sizes and settings and the versions of moebench
    and torch are the same; one that does not say so is replaced.
    """
    if folder is None:
        return flops_of_layers(variant, shapes, sizes, settings)
    versions = machine.versions()
    counted: dict[str, object] = {
        "variant": variant.name,
        "code": code,
        "layers": [dataclasses.asdict(shape) for shape in shapes],
        "sizes": list(sizes),
        "settings": dict(settings),
        "versions": {name: versions[name] for name in ("moebench", "torch")},
    }
    path = folder / f"{digest(counted)}.json"
    flops = _read(path, counted)
    if flops is None:
        flops = flops_of_layers(variant, shapes, sizes, settings)
        try:
            write_atomic(path, canonical_json(counted | {"flops": flops}).encode())
        except OSError as error:
            LOG.info("cannot keep FLOPs in %s: %s", path, error)
    return flops


def _read(path: Path, counted: Mapping[str, object]) -> int | None:
    """What the file says, if it is of exactly these layers."""
    try:
        kept = parse_json(read_text(path))
        flops = kept.pop("flops")
        same = canonical_json(kept) == canonical_json(counted)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return flops if same and type(flops) is int else None
