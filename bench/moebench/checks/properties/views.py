"""Several targets: an output for each view, from experts that work once, by gates that do not disturb each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from moebench.budgets import count_flops, count_layers
from moebench.budgets.flops import dense_flops
from moebench.budgets.solve import solve
from moebench.checks.compare import difference_at
from moebench.checks.outcome import NotApplicable
from moebench.checks.properties.budget import COMMON
from moebench.checks.subject import CheckSubject
from moebench.contract import Layer

VIEWS = ("kind/first", "kind/second", "third")
"""Of the slot: two of one category, and one without."""

ONCE = 1.1
"""FLOPs over those of dense layers with the same parameters, at most, as on the total axis."""


def check_views_have_outputs(subject: CheckSubject) -> None:
    """In a slot with views it gives (B, V, T, O), or as without views (B, T, O), which all views share."""
    slot = subject.in_shape(views=VIEWS)
    for built in slot.trials():
        x_BTD = slot.inputs()
        with built.expect_no_error(f"fails in a slot with {len(VIEWS)} views"):
            got = tuple(built.layer(x_BTD).shape)
        inputs, tokens = x_BTD.shape[:2]
        each = (tokens, subject.shape.out_dim)
        if got not in ((inputs, *each), (inputs, len(VIEWS), *each)):
            raise built.failed(f"turns {tuple(x_BTD.shape)} into {got} in a slot with {len(VIEWS)} views")


def check_views_share_the_experts(subject: CheckSubject) -> None:
    """With views its FLOPs stay within 1.1 times those of dense layers: no expert works once for each view."""
    slot = subject.in_shape(views=VIEWS)
    _expect_views(slot)
    for settings in (slot.defaults(COMMON), *slot.sampled(2, seed=1, amount=COMMON)):
        budget = slot.budget(COMMON)
        sized = zip(budget.shapes, solve(subject.variant, budget, settings).sizes, strict=True)
        layers = [(subject.variant.layer(shape, size, settings), shape) for shape, size in sized]
        flops = sum(count_flops(layer, shape) for layer, shape in layers)
        dense = dense_flops(budget.shapes, count_layers([layer for layer, _ in layers]).total)
        if flops > ONCE * dense:
            raise subject.failed(
                f"needs {flops:,} FLOPs an input for {len(VIEWS)} views{subject.changed(settings, COMMON)}, over "
                f"{ONCE:g} times the {dense:,} of dense layers: experts have to work once for all views"
            )


def check_views_are_apart(subject: CheckSubject) -> None:
    """A parameter of a single view, such as its gate, changes its output and no other view's."""
    slot = subject.in_shape(views=VIEWS)
    _expect_views(slot)
    for built in slot.trials():
        x_BTD, of_views = slot.inputs(), _view_parameters(built.layer)
        with torch.no_grad():
            before = built.layer(x_BTD)
        for name, axis in of_views.items():
            parameter = built.layer.get_parameter(name)
            if parameter.shape[axis] != len(VIEWS):
                raise built.failed(
                    f"lists '{name}' of shape {tuple(parameter.shape)} in view_parameters() with the view axis {axis}, "
                    f"where it does not have {len(VIEWS)}"
                )
            for view, called in enumerate(VIEWS):
                kept = parameter.detach().clone()
                with torch.no_grad():
                    noise = torch.randn(kept.select(axis, view).shape, generator=torch.Generator().manual_seed(view))
                    parameter.select(axis, view).add_(noise.to(kept))
                    after = built.layer(x_BTD)
                    parameter.copy_(kept)
                for other, name_of_other in enumerate(VIEWS):
                    same = torch.equal(after[:, other], before[:, other])
                    if other != view and not same:
                        raise built.failed(
                            f"changes the output of view '{name_of_other}' by '{name}' of view '{called}', "
                            f"{difference_at(after[:, other], before[:, other])}"
                        )
                    if other == view and same:
                        raise built.failed(f"does not use '{name}' of view '{called}' for that view")


def _view_parameters(layer: Layer) -> Mapping[str, int]:
    own: Callable[[], Mapping[str, int]] | None = getattr(layer, "view_parameters", None)
    if own is None:
        raise NotApplicable("it names no parameters of single views.")
    return own()


def _expect_views(slot: CheckSubject) -> None:
    """Not applicable to a layer whose output all views share."""
    with torch.no_grad():
        if slot.build()(slot.inputs()).ndim != 4:
            raise NotApplicable("all views share its output.")
