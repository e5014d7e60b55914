"""Which experts the most frequent tokens, and the groups of tokens, are sent to: small tables for a record.

R labels: token ids or groups   E experts
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moebench.hosts.host import Host
from moebench.measures.scores.tokens import routes_of
from moebench.tasks import Split, Task

MOST_TOKENS = 24
"""The most frequent token ids of the sample."""

MOST_NUMBERS = 2048
"""Of one table; with more experts it has fewer labels, and with more experts than that there is none."""

DIGITS = 3


def route_map(model: Host, task: Task, data: Split, precision: str = "fp32") -> dict[str, Any]:
    """``token`` and ``group``, each where the task names its labels and a layer routes them: ``labels`` (R words),
    ``share`` of the label's tokens in the sample (R), ``first`` and ``last``, of the first and the last layer with
    experts p(e | label) (R x E). Shares as of ``token_scores``, rounded. Empty where there is nothing to name.
    """
    found = dict[str, Any]()
    ids_NT = data.inputs if data.inputs.ndim == 2 and not data.inputs.is_floating_point() else None
    named = {"token": (ids_NT, task.token_names), "group": (data.groups_NT, task.group_names)}
    if all(label_NT is None or names([0]) is None for label_NT, names in named.values()):
        return found
    layers = [each.share_NTE for each in routes_of(model, data, precision)]
    for kind, (label_NT, names) in named.items():
        if label_NT is None or not layers or label_NT.shape[1] != layers[0].shape[1]:
            continue
        label_NT = label_NT[: len(layers[0])].long().cpu()
        most = min(MOST_TOKENS, MOST_NUMBERS // max(share_NTE.shape[2] for share_NTE in layers))
        labels_R, counts_R = _frequent(label_NT, most)
        words = names(labels_R.tolist())
        if words and most:
            tables = {"first": layers[0], "last": layers[-1]}
            found[kind] = {
                "labels": words,
                "share": _rounded(counts_R / label_NT.numel()),
                **{name: _rounded(_by_label(share_NTE, label_NT, labels_R)) for name, share_NTE in tables.items()},
            }
    return found


def _frequent(label_NT: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The labels that occur most, the most frequent first, and how often; of equal ones the smaller first."""
    labels, counts = torch.unique(label_NT, return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:most]
    return labels[order], counts[order]


def _by_label(share_NTE: Tensor, label_NT: Tensor, labels_R: Tensor) -> Tensor:
    """p(e | label) (R, E), over the label's tokens that have an expert; 0 where none has."""
    share_ME, label_M = share_NTE.flatten(0, 1), label_NT.flatten()
    total_RE = torch.stack([share_ME[label_M == label].sum(0) for label in labels_R])
    return total_RE / total_RE.sum(1, keepdim=True).clamp_min(1e-300)


def _rounded(values: Tensor) -> Any:
    return (values.double() * 10**DIGITS).round().div(10**DIGITS).tolist()
