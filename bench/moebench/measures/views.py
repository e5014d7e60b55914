"""How several targets share experts, and the three anomalies that HoME describes (arXiv 2408.05430, section 2).

V views   E experts   N rows that an expert works on   H hidden width
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from moebench.contract import Layer, Routing
from moebench.hosts.host import Call
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.training.evaluate import asking, run_pass

COLLAPSED = 0.9
"""Share of zero activations from which on an expert counts as collapsed, as in the paper."""

INPUTS = 4096
"""Of the test part, at most."""

NO_VIEWS = "no layer has weights for each target"
NO_UNITS = "no layer shows its experts' hidden units"
NO_SHARED = "no expert is shared by several targets"
NO_OWN = "no target has experts of its own"


def views(subject: Subject) -> Scores:
    """On test data, means over the layers that have each. From the weight w_ve of expert e in the output of view v:

    degradation: how far shared experts are occupied by one target: (V max_v w_ve / sum_v w_ve - 1) / (V - 1), 0 where
    all views use an expert alike, 1 where one does, V those that could; a mean over the experts that several could.
    underfitting: how far targets ignore their own experts: 1 - w_own / (share of own experts among those that the view
    could use), at least 0; a mean over views. zero_activations: share of hidden units that are exactly 0, and
    collapsed: share of experts with at least 90 % of them; the units are those inside an expert's MLP, before a norm of
    its output such as HoME's, after which hardly any number is exactly 0. Array ``gate_VE_<layer>``: w_ve.
    """
    scores, found = Scores(), list[tuple[int, Tensor]]()
    test = subject.data("test")[:INPUTS]
    call, zeros = Call(keep_inputs=True), list[Tensor]()
    with asking(subject.model):
        run_pass(subject.model, test, subject.precision, call)
        for place, (layer, x_BTD, routing) in enumerate(
            zip(subject.model.layers(), call.inputs, call.routings, strict=True)
        ):
            if routing.combine_BVTE is not None:
                found.append((place, routing.combine_BVTE.double().mean((0, 2)).cpu()))
            zeros += [(units_ENH == 0).double().mean((1, 2)) for units_ENH in _units(layer, x_BTD, routing)]
    for place, weight_VE in found:
        scores.arrays[f"gate_VE_{place}"] = weight_VE.numpy()
    weights = [weight_VE for _, weight_VE in found]
    scores.put("degradation", _mean([degradation(each) for each in weights]), NO_SHARED if weights else NO_VIEWS)
    scores.put("underfitting", _mean([underfitting(each) for each in weights]), NO_OWN if weights else NO_VIEWS)
    zero_E = torch.cat(zeros) if zeros else None
    scores.put("zero_activations", None if zero_E is None else float(zero_E.mean()), NO_UNITS)
    collapsed = None if zero_E is None else float((zero_E >= COLLAPSED).double().mean())
    scores.put("collapsed", collapsed, NO_UNITS)
    return scores


def degradation(weight_VE: Tensor) -> float | None:
    """From 0, shared experts are used alike, to 1, each by one view; None where none is shared or there is one view."""
    views_E = (weight_VE > 0).sum(0)
    shared_Ve = weight_VE[:, views_E > 1]
    if not shared_Ve.shape[1]:
        return None
    # Of the views that could use an expert; those of another category could not.
    number_e, largest_e = views_E[views_E > 1], shared_Ve.amax(0) / shared_Ve.sum(0)
    return float(((number_e * largest_e - 1) / (number_e - 1)).mean())


def underfitting(weight_VE: Tensor) -> float | None:
    """From 0, own experts have at least their even share, to 1, none; None without own experts or with one view."""
    if len(weight_VE) < 2:
        return None
    only_E = (weight_VE > 0).sum(0) == 1
    found = []
    for weight_E in weight_VE:
        used_E = weight_E > 0
        own_E = used_E & only_E
        if own_E.any() and not own_E[used_E].all():
            even = float(own_E.sum() / used_E.sum())
            found.append(max(0.0, 1 - float(weight_E[own_E].sum() / weight_E.sum()) / even))
    return sum(found) / len(found) if found else None


def _units(layer: Layer, x_BTD: Tensor, routing: Routing) -> Sequence[Tensor]:
    own: Callable[[Tensor, Routing], Sequence[Tensor]] | None = getattr(layer, "hidden_units", None)
    return [] if own is None else own(x_BTD, routing)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
