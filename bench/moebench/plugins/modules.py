"""A plain ``nn.Module`` where a variant is wanted: the line that wraps it."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from moebench.errors import PluginError

WIDTHS = {
    "dim": (
        "dim",
        "d_model",
        "model_dim",
        "embed_dim",
        "hidden_size",
        "n_embd",
        "in_features",
        "input_size",
        "d",
        "d_in",
    ),
    "hidden": ("hidden", "d_ff", "ffn_dim", "hidden_dim", "intermediate_size", "expert_dim", "d_hidden", "inner_dim"),
}
"""What modules call the width of a token, and that of their hidden layer: the two that the harness gives."""

USUAL = {
    "experts": 8,
    "num_experts": 8,
    "n_experts": 8,
    "top_k": 2,
    "k": 2,
    "num_experts_per_tok": 2,
    "output_size": "dim",
}
"""Arguments that a module may need beside them, with a usual value."""


def refuse_module(spec: str, thing: Any) -> None:
    """:class:`PluginError` with the line that wraps it, for a class or an instance of ``torch.nn.Module``."""
    torch = sys.modules.get("torch")
    kind = thing if isinstance(thing, type) else type(thing)
    if torch is None or not issubclass(kind, torch.nn.Module):
        return
    line = wrapping_line(kind)
    raise PluginError(
        f"{spec}: it is an nn.Module and no variant; add `from moebench import wrap` and `{line}` to its file, and "
        f"name that ('{_named(spec, line)}'). docs/port-your-layer.md shows how its experts are seen, too.",
        code="module-not-wrapped",
        line=line,
    )


def wrapping_line(module: type) -> str:
    """``my_layer = wrap(lambda dim, hidden: MyLayer(d_model=dim, d_ff=hidden), name="my_layer")``."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", module.__name__).lower().lstrip("_")[:40]
    return f'{name} = wrap(lambda dim, hidden: {module.__name__}({", ".join(_arguments(module))}), name="{name}")'


def _arguments(module: type) -> list[str]:
    """What its constructor is called with: its own names where they say which width is meant, else the first two."""
    try:
        parameters = [*inspect.signature(module).parameters.values()]
    except (TypeError, ValueError):
        return ["dim", "hidden"]
    named = {p.name: width for p in parameters for width, names in WIDTHS.items() if p.name in names}
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    left = [width for width in WIDTHS if width not in named.values()]
    found = []
    for p in parameters:
        if p.name in named:
            found.append(f"{p.name}={named[p.name]}")
        elif p in needed:
            value = USUAL.get(p.name) or (left.pop(0) if left else "...")
            found.append(str(value) if p.kind is p.POSITIONAL_ONLY else f"{p.name}={value}")
    return found


def _named(spec: str, line: str) -> str:
    path, colon, _ = spec.rpartition(":")
    return f"{path}{colon}{line.partition(' ')[0]}"
