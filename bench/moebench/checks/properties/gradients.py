"""Everything that is counted learns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from moebench.checks.compare import count, listed, number
from moebench.checks.masking import experts_held
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Built, Subject
from moebench.checks.toy import Toy
from moebench.contract import Context, Layer

BATCHES = 50
INPUTS = 8
NEGLIGIBLE = 1e-5
"""A gradient this much smaller than those of the other parameters is rounding, not learning."""


@dataclass
class _Seen:
    """The largest gradient of each parameter, and of each expert's slice of it; and who was chosen at all."""

    largest: dict[str, float] = field(default_factory=dict)
    by_expert: dict[str, Tensor] = field(default_factory=dict)
    chosen: Tensor | None = None

    def add(self, layer: Layer, mass_BE: Tensor | None) -> None:
        axes = layer.expert_parameters()
        for name, parameter in layer.named_parameters():
            if parameter.requires_grad:
                given = parameter.grad
                gradient = torch.zeros_like(parameter) if given is None else given.detach().abs()
                self.largest[name] = max(self.largest.get(name, 0.0), float(gradient.max()))
                if name in axes:
                    held = torch.tensor(experts_held(layer, name))
                    peak_E = torch.full((layer.num_experts,), torch.nan)
                    peak_E[held] = gradient.movedim(axes[name], 0).flatten(1).amax(1).to(peak_E)
                    self.by_expert[name] = torch.maximum(self.by_expert.get(name, peak_E), peak_E)
        if mass_BE is not None:
            chosen_E = (mass_BE > 0).any(0)
            self.chosen = chosen_E if self.chosen is None else self.chosen | chosen_E

    def floor(self) -> float:
        """Below it a gradient is rounding."""
        values = sorted(self.largest.values())
        return NEGLIGIBLE * values[len(values) // 2] if values else 0.0

    def silent(self) -> list[str]:
        """Parameters without a gradient so far."""
        return [name for name, largest in self.largest.items() if largest <= self.floor()]

    def silent_experts(self) -> dict[int, list[str]]:
        """Experts that have parameters without a gradient so far, and which."""
        floor = self.floor()
        silent: dict[int, list[str]] = {}
        for name, peak_E in self.by_expert.items():
            for e in (peak_E <= floor).nonzero().flatten().tolist():
                silent.setdefault(e, []).append(name)
        return silent

    def complete(self) -> bool:
        return not self.silent() and not self.silent_experts()


def check_every_parameter_learns(subject: Subject) -> None:
    """The outputs alone give a finite loss and a gradient to every parameter within 50 random batches."""
    for built in subject.trials(perturbed=False):
        if not any(parameter.requires_grad for parameter in built.layer.parameters()):
            raise NotApplicable("it has no trainable parameters.")
        seen = _watch(subject, built)
        dead = _dead_experts(seen)
        if dead:
            never = f"{count(len(dead), 'expert')} ({listed(dead)})"
            subject.note(f"{never} of {built.layer.num_experts} never chosen in {BATCHES} batches{built.words}.")
        _complain(subject, built, seen, dead)


def _watch(subject: Subject, built: Built) -> _Seen:
    """Train on random batches until all has been seen to learn; layers that start at zero leave it so."""
    layer, seen = built.layer.train(), _Seen()
    toy = Toy(INPUTS, subject.shape.out_dim)
    optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=0.01)
    for step in range(BATCHES):
        x_BTD = subject.inputs(INPUTS, seed=step)
        routing = layer.route(x_BTD, Context())
        loss = toy.loss(layer.compute(x_BTD, routing))
        if not bool(torch.isfinite(loss)):
            raise subject.failed(f"gives the loss {number(loss)} at batch {step}{built.words}.")
        if not loss.requires_grad:
            raise subject.failed(f"gives an output that no parameter has a part in{built.words}.")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        seen.add(layer, routing.mass_BE)
        if seen.complete():
            break
        optimizer.step()
        layer.after_step()
    return seen


def _dead_experts(seen: _Seen) -> list[int]:
    return [] if seen.chosen is None else (~seen.chosen).nonzero().flatten().tolist()


def _complain(subject: Subject, built: Built, seen: _Seen, dead: list[int]) -> None:
    broken = [name for name, p in built.layer.named_parameters() if not bool(torch.isfinite(p).all())]
    if broken:
        raise subject.failed(f"has NaN or infinity in {listed(broken)} after {BATCHES} steps of SGD{built.words}.")
    if seen.silent():
        raise subject.failed(
            f"trains {listed(seen.silent())} by no gradient from its output in {BATCHES} "
            f"batches{built.words}; detach nothing that is to learn, or set requires_grad to False."
        )
    for expert, names in seen.silent_experts().items():
        if expert not in dead:
            raise subject.failed(
                f"gives expert {expert} a mass, but no gradient to its slice of {listed(names)} in {BATCHES} "
                f"batches{built.words}."
            )


def check_input_gets_gradient(subject: Subject) -> None:
    """The layer hands a finite gradient on to its input, also from a plain sum of its outputs."""
    for built in subject.trials():
        x_BTD = subject.inputs().requires_grad_()
        try:
            built.layer.train()(x_BTD).sum().backward()
        except Exception as error:
            raise subject.failed(
                f"raises {type(error).__name__} in the backward pass of y.sum(){built.words}: {error}"
            ) from None
        gradient = x_BTD.grad
        if gradient is None or not bool(gradient.any()):
            raise subject.failed(f"hands no gradient on to its input{built.words}: layers below it would not learn.")
        if not bool(torch.isfinite(gradient).all()):
            raise subject.failed(f"hands a gradient with NaN or infinity on to its input{built.words}.")
