"""Everything that is counted learns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from moebench.budgets.count import experts_held
from moebench.checks.compare import count, listed
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.checks.toy import toy_loss
from moebench.contract import Context, Layer

BATCHES = 50
INPUTS = 8
NEGLIGIBLE = 1e-5
"""A gradient this much smaller than those of the other parameters is rounding, not learning."""


@dataclass
class _Gradients:
    """The largest gradient of each parameter, and of each expert's slice of it; and which experts were chosen."""

    largest: dict[str, float] = field(default_factory=dict)
    by_expert: dict[str, Tensor] = field(default_factory=dict)
    chosen_E: Tensor | None = None

    def add(self, layer: Layer, mass_BE: Tensor | None) -> None:
        axes = layer.expert_parameters()
        for name, parameter in layer.named_parameters():
            if parameter.requires_grad:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.abs()
                self.largest[name] = max(self.largest.get(name, 0.0), float(gradient.max()))
                if name in axes:
                    peak_E = torch.full((layer.num_experts,), torch.nan)
                    held = torch.tensor(experts_held(layer, name))
                    peak_E[held] = gradient.movedim(axes[name], 0).flatten(1).amax(1).to(peak_E)
                    self.by_expert[name] = torch.maximum(self.by_expert.get(name, peak_E), peak_E)
        if mass_BE is not None:
            chosen_E = (mass_BE > 0).any(0)
            self.chosen_E = chosen_E if self.chosen_E is None else self.chosen_E | chosen_E

    def missing(self) -> tuple[list[str], dict[int, list[str]]]:
        """Parameters without a gradient so far, and experts that have some, with their names."""
        values = sorted(self.largest.values())
        floor = NEGLIGIBLE * values[len(values) // 2] if values else 0.0
        of_experts: dict[int, list[str]] = {}
        for name, peak_E in self.by_expert.items():
            for e in (peak_E <= floor).nonzero().flatten().tolist():
                of_experts.setdefault(e, []).append(name)
        return [name for name, largest in self.largest.items() if largest <= floor], of_experts


def check_every_parameter_learns(subject: CheckSubject) -> None:
    """The outputs alone give a finite loss and a gradient to every parameter within 50 random batches."""
    for built in subject.trials(perturbed=False):
        if not any(parameter.requires_grad for parameter in built.layer.parameters()):
            raise NotApplicable("it has no trainable parameters.")
        gradients = _train(subject, built)
        chosen_E = gradients.chosen_E
        dead = [] if chosen_E is None else (~chosen_E).nonzero().flatten().tolist()
        if dead:
            never = f"{count(len(dead), 'expert')} ({listed(dead)})"
            subject.note(f"{never} of {built.layer.num_experts} never chosen in {BATCHES} batches{built.words}.")
        broken = [name for name, p in built.layer.named_parameters() if not bool(torch.isfinite(p).all())]
        if broken:
            raise built.failed(f"has NaN or infinity in {listed(broken)} after {BATCHES} steps of SGD")
        names, of_experts = gradients.missing()
        if names:
            raise built.failed(
                f"trains {listed(names)} by no gradient from its output in {BATCHES} batches (detach nothing that is "
                "to learn, or set requires_grad to False)"
            )
        for expert in of_experts.keys() - set(dead):
            raise built.failed(
                f"gives expert {expert} a mass, but no gradient to its slice of {listed(of_experts[expert])} in "
                f"{BATCHES} batches"
            )


def _train(subject: CheckSubject, built: BuiltLayer) -> _Gradients:
    """Train on random batches until all has had a gradient; layers that start at zero leave it so."""
    layer, gradients = built.layer.train(), _Gradients()
    optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=0.01)
    for step in range(BATCHES):
        x_BTD = subject.inputs(INPUTS, seed=step)
        routing = layer.route(x_BTD, Context())
        loss = toy_loss(layer.compute(x_BTD, routing))
        if not bool(torch.isfinite(loss)):
            raise built.failed(f"gives the loss {loss.item()} at batch {step}")
        if not loss.requires_grad:
            raise built.failed("gives an output that no parameter has a part in")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        gradients.add(layer, routing.mass_BE)
        if not any(gradients.missing()):
            break
        optimizer.step()
        layer.after_step()
    return gradients


def check_input_gets_gradient(subject: CheckSubject) -> None:
    """The layer hands a finite gradient on to its input, also from a plain sum of its outputs."""
    for built in subject.trials():
        x_BTD = subject.inputs().requires_grad_()
        with built.expect_no_error("fails in the backward pass of y.sum()"):
            built.layer.train()(x_BTD).sum().backward()
        gradient = x_BTD.grad
        if gradient is None or not bool(gradient.any()):
            raise built.failed("hands no gradient on to its input")
        if not bool(torch.isfinite(gradient).all()):
            raise built.failed("hands a gradient with NaN or infinity on to its input")


def check_gradient_is_a_derivative(subject: CheckSubject) -> None:
    """Its gradient in float64 is the slope of its loss; where a straight-through gate makes it another, it is noted."""
    for built in subject.trials(samples=0):
        layer, x_BTD = built.layer.double(), subject.inputs().double()
        trained = [p for p in layer.parameters() if p.requires_grad and p.is_floating_point()]
        if not trained:
            raise NotApplicable("it has no trainable parameters.")
        loss = toy_loss(layer(x_BTD), exact=True)
        if not loss.requires_grad:
            raise NotApplicable("its output hangs on no parameter.")
        told = torch.autograd.grad(loss, trained, allow_unused=True)
        generator = torch.Generator().manual_seed(0)
        ways = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in trained]
        slope = sum(float((g * way).sum()) for g, way in zip(told, ways, strict=True) if g is not None)
        found = [_slope(layer, x_BTD, trained, ways, step) for step in (1e-6, 1e-7)]
        size = max(abs(slope), abs(found[0]), 1e-9)
        if abs(found[0] - found[1]) < 0.01 * size and abs(slope - found[0]) > 0.05 * size:
            subject.note(
                f"its gradient says that the loss changes by {slope:.4g} along a random direction, and it changes by "
                f"{found[0]:.4g}: honest where a gradient goes straight through a choice, else wrong."
            )


@torch.no_grad()
def _slope(layer: Layer, x_BTD: Tensor, parameters: list[torch.nn.Parameter], ways: list[Tensor], step: float) -> float:
    """Of the loss along a direction, by central differences."""
    losses = []
    for by in (step, -2 * step):
        for parameter, way in zip(parameters, ways, strict=True):
            parameter.add_(by * way.to(parameter))
        losses.append(float(toy_loss(layer(x_BTD), exact=True)))
    for parameter, way in zip(parameters, ways, strict=True):
        parameter.add_(step * way.to(parameter))
    return (losses[0] - losses[1]) / (2 * step)
