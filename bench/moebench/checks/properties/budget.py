"""The budget is met, and all that a layer has is counted."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from moebench.budgets import TOLERANCE, check_rules, count_flops, count_layer, count_layers, flops_bounds, solve
from moebench.budgets.count import build_on_meta, experts_per_token
from moebench.budgets.flops import flops_at, model_flops
from moebench.checks.compare import count, listed
from moebench.checks.kept import kept, numbers_in
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import NEAR, BuiltLayer, CheckSubject, ladder
from moebench.checks.toy import train
from moebench.contract import Context, Layer, Settings
from moebench.errors import BudgetError

SIZES = (1, 2, 3, 5, 8, 16, 32, 256)
IMPOSSIBLE = 10
SETTLING_STEPS, SETTLED = 150, 0.5
"""Steps in which a number of experts per token settles on one batch of few tokens, and how near its mean it then is."""
COMMON = 400_000
"""A budget as suites have it: a buffer with a number an expert is nothing beside it."""


def check_budget_is_met(subject: CheckSubject) -> None:
    """At three budgets its built layers hold the parameters that they were counted with; those off by 1 % are noted."""
    for amount in ladder(subject.shape):
        settings = subject.defaults(amount)
        layers = _layers_at(subject, amount, settings)
        real = count_layers(layers).total
        planned = solve(subject.variant, subject.budget(amount), settings, tolerance=NEAR).counts.total
        if real == planned and abs(real - amount) > TOLERANCE * amount:
            subject.note(
                f"its sizes grow in steps: the nearest to {amount:,} parameters that it reaches is {real:,}, and a row "
                f"further than {TOLERANCE:.0%} from its suite's budget is not ranked."
            )
        elif real != planned:
            raise subject.failed(
                f"holds {real:,} parameters in {len(layers)} layers of size "
                f"{listed(list(subject.sizes(settings, amount)))} where the budget is {amount:,}; on the meta device, "
                f"where parameters are counted, it holds {planned:,}"
            )


def check_parameters_grow_with_size(subject: CheckSubject) -> None:
    """A larger size has no fewer parameters, and a much larger one more, as the solver of the budget needs it."""
    settings = subject.defaults()
    totals = [count_layer(build_on_meta(subject.variant, subject.shape, s, settings)).total for s in SIZES]
    for (small, fewer), (large, more) in pairwise(zip(SIZES, totals, strict=True)):
        if more < fewer:
            raise subject.failed(
                f"has {fewer:,} parameters at size {small} and {more:,} at size {large}: they must grow with size"
            )
    if totals[-1] <= totals[0]:
        raise subject.failed(f"has {totals[0]:,} parameters at size {SIZES[0]} and at size {SIZES[-1]}: they must grow")


def check_impossible_budget_is_refused(subject: CheckSubject) -> None:
    """A budget below its smallest layer ends in a BudgetError that names the nearest it reaches."""
    try:
        reached = solve(subject.variant, subject.budget(IMPOSSIBLE), subject.defaults())
    except BudgetError:
        return
    raise subject.failed(
        f"claims {reached.amount:,} parameters at size {listed(list(reached.sizes))} for a budget of "
        f"{IMPOSSIBLE}, fewer than one layer needs"
    )


def check_rules_of_the_budget(subject: CheckSubject) -> None:
    """Buffers are below 0.1 % of parameters, FLOPs within 1.1 times those of dense and of active parameters."""
    shapes = subject.budget(COMMON).shapes
    for settings in (subject.defaults(COMMON), *subject.sampled(3, seed=1, amount=COMMON)):
        layers = _layers_at(subject, COMMON, settings)
        flops = sum(count_flops(layer, shape) for layer, shape in zip(layers, shapes, strict=True))
        bounds = flops_bounds(layers, shapes, causal=subject.variant.causal)
        broken = check_rules("total", shapes, count_layers(layers), flops, experts=layers[0].num_experts, bounds=bounds)
        if flops < bounds.least:
            subject.note(
                f"only {flops:,} FLOPs are seen, and its active parameters take {int(bounds.least):,} or more: the "
                "counter does not know its kernels, and it has no place on the axis of FLOPs."
            )
        if broken:
            where = f"a budget of {COMMON:,}{subject.changed(settings, COMMON)}"
            raise subject.failed(f"breaks a rule of the board at {where}: {broken}")


def _layers_at(subject: CheckSubject, amount: int, settings: Settings) -> list[Layer]:
    """All layers of the budget."""
    torch.manual_seed(0)
    sized = zip(subject.budget(amount).shapes, subject.sizes(settings, amount), strict=True)
    return [subject.variant.layer(shape, size, settings) for shape, size in sized]


def check_nominal_routing_is_honest(subject: CheckSubject) -> None:
    """The nominal routing whose FLOPs are quoted costs no less than a real one."""
    for built in subject.trials():
        quoted = count_flops(built.layer, subject.shape)
        x_BTD, slack = _settled(subject, built)
        real = model_flops(built.layer, x_BTD)
        if real > (1.1 + slack) * quoted and not hasattr(built.layer, "nominal_routing"):
            subject.note(
                f"quotes {quoted:,} FLOPs an input and needs {real:,} for random tokens{built.words}: "
                "its cost varies with the input; nominal_routing() would quote that of a balanced load."
            )
        elif real > (1.1 + slack) * quoted:
            raise built.failed(
                f"quotes {quoted:,} FLOPs an input at nominal_routing(), but needs {real:,} for "
                f"{subject.shape.tokens} random tokens"
            )


def check_flops_of_any_weights(subject: CheckSubject) -> None:
    """Its FLOPs are counted alike under one seed; that other weights have others is noted."""
    settings = subject.defaults()
    size = subject.sizes(settings)[0]
    flops = [flops_at(subject.variant, subject.shape, size, settings, seed) for seed in (0, 0, 1, 2, 3)]
    if flops[0] != flops[1]:
        raise subject.failed(f"has {flops[0]:,} FLOPs an input and then {flops[1]:,}, built twice under one seed")
    if len(set(flops)) > 1:
        subject.note(
            f"its FLOPs depend on its weights, {min(flops):,} to {max(flops):,} an input: those of one seed are "
            "quoted, unless nominal_routing() gives those of a balanced load."
        )


def check_nothing_is_hidden(subject: CheckSubject) -> None:
    """All its modules and tensors are registered, and none comes into being during a forward pass."""
    for built in subject.trials():
        before = count_layer(built.layer)
        _expect_registered(built, "")
        built.layer(subject.inputs())
        y_BTO = built.layer.train()(subject.inputs())
        if y_BTO.requires_grad:
            torch.autograd.backward(y_BTO.square().mean())
        built.layer.after_step()  # a layer may keep for it what a pass has given
        built.layer.eval()
        after = count_layer(built.layer)
        if after != before:
            raise built.failed(
                f"has {before.total:,} parameters and {before.float_buffers:,} buffer elements before its "
                f"first forward pass and {after.total:,} and {after.float_buffers:,} after it"
            )
        _expect_registered(built, " after a forward pass")


def _expect_registered(built: BuiltLayer, when: str) -> None:
    layer = built.layer
    registered = {id(thing) for thing in (*layer.modules(), *layer.parameters(), *layer.buffers())}
    for place, thing in kept(layer):
        if id(thing) in registered:
            continue
        if isinstance(thing, nn.Module):
            raise built.failed(
                f"keeps a {type(thing).__name__} in {place}{when}, where its "
                "parameters are not counted, saved or trained (use nn.ModuleList or nn.ModuleDict)"
            )
        raise built.failed(
            f"keeps {count(numbers_in(thing), 'number')} in {place}{when} (register them "
            "as a parameter or a buffer, or do not keep them)"
        )


def check_active_parameters_are_counted(subject: CheckSubject) -> None:
    """No more experts act on a token than its active parameters are counted for."""
    for built in subject.trials():
        x_BTD, slack = _settled(subject, built)
        combine_BTE = built.layer.route(x_BTD, Context()).combine_BTE
        if combine_BTE is None:
            raise NotApplicable("its routing gives no weights.")
        found, claimed = float((combine_BTE != 0).sum(2).double().mean()), experts_per_token(built.layer)
        if found > claimed * (1 + slack) + 1e-6:
            raise built.failed(
                f"counts the active parameters of {claimed:g} experts a token (top_k, or mean_experts_per_token()), "
                f"but {found:.2f} have weight"
            )


def _settled(subject: CheckSubject, built: BuiltLayer) -> tuple[Tensor, float]:
    """Inputs, and the share by which a number of experts per token may be off on them: 0 where it is fixed. Where it
    settles in training, the layer is trained on these inputs, whose mean is not 0, as that of no host's tokens is.
    """
    if not built.layer.number_settles:
        return subject.inputs(), 0.0
    x_BTD = subject.inputs() + 1
    train(built.layer, built.settings, x_BTD, SETTLING_STEPS)
    return x_BTD, SETTLED
