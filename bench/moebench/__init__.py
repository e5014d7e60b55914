"""Compare Mixture-of-Experts layers under one checked parameter budget.

``run`` trains a suite, ``load_board`` reads its leaderboard, ``compare`` compares two result sets, ``check`` holds a
variant to the contract, ``wrap`` makes a variant of any module, and ``subset_inference`` uses a few experts for each
input of a trained model, which ``load_model`` gives. They are imported when first used, so that ``import moebench``
costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["__version__", "check", "compare", "load_board", "load_model", "run", "subset_inference", "wrap"]

if TYPE_CHECKING:
    from moebench.api import check, compare, load_model, run
    from moebench.contract.wrap import wrap
    from moebench.measures.subset.infer import subset_inference
    from moebench.publish.sources import load_board

_HOMES = {
    "run": "api",
    "check": "api",
    "compare": "api",
    "load_board": "publish.sources",
    "load_model": "api",
    "wrap": "contract.wrap",
    "subset_inference": "measures.subset.infer",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"moebench.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'moebench' has no attribute '{name}'")
