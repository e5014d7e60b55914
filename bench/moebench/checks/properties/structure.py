"""What it claims about the function it computes, and to be with one expert."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from moebench.budgets.place import find_leak, perturb
from moebench.checks.compare import difference_at, gap
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import BuiltLayer, CheckSubject, sample_settings
from moebench.contract import Layer, LayerShape, Settings


def check_token_equivariance(subject: CheckSubject) -> None:
    """Where it claims to be token-equivariant, permuting the tokens permutes the outputs."""
    if not subject.variant.token_equivariant:
        raise NotApplicable("it does not claim to be token-equivariant.")
    for built in subject.trials(samples=4):
        x_BTD = subject.inputs()
        order_T = torch.randperm(x_BTD.shape[1], generator=torch.Generator().manual_seed(4))
        built.expect_same(
            built.layer(x_BTD[:, order_T]),
            built.layer(x_BTD)[:, order_T],
            f"claims to be token-equivariant, but with the tokens in the order {order_T.tolist()} its outputs differ "
            "from the permuted ones",
        )


def check_causality(subject: CheckSubject) -> None:
    """Where it claims to be causal, later tokens do not change the outputs of earlier ones."""
    if not subject.variant.causal:
        raise NotApplicable("it does not claim to be causal.")
    subject = subject.in_shape(causal=True)
    for built in subject.trials(samples=4):
        leak = find_leak(built.layer, subject.inputs(), subject.inputs(seed=6) * 3)
        if leak:
            raise built.failed(
                f"claims to be causal, but changing the tokens from {leak.first} on changes earlier outputs "
                f"{difference_at(leak.got_BTO, leak.want_BTO)} in {'training' if leak.training else 'eval'} mode"
            )


def check_single_expert(subject: CheckSubject) -> None:
    """With one expert it is what it claims: the plain MLP, or the MLP of the pooled token."""
    if not subject.variant.single_expert:
        raise NotApplicable("it makes no promise for a single expert.")
    built = _with_one_expert(subject)
    layer, x_BTD = built.layer, subject.inputs()
    if subject.variant.single_expert == "pooled":
        y_BTO = layer(x_BTD)
        promise = "promises one output for all tokens with a single expert, but token 0 differs"
        built.expect_same(y_BTO, y_BTO[:, :1].expand_as(y_BTO), promise)
        layer = _sized_like_default(subject.in_shape(**subject.one_token), built.settings)
        layer.load_state_dict(built.layer.state_dict())
        layer.eval()
        x_BTD = subject.inputs(tokens=1)
    got, promise = layer(x_BTD), "promises the plain MLP with a single expert, but"
    candidates = list(_plain_mlps(layer, subject.shape, x_BTD))
    if not candidates:
        shapes = ", ".join(f"{name} {tuple(p.shape)}" for name, p in layer.named_parameters())
        raise built.failed(f"{promise} its parameters are not those of one: {shapes}")
    best = min(candidates, key=lambda want: gap(got, want))
    built.expect_same(got, best, f"{promise} differs from it", 1e-4)


def _with_one_expert(subject: CheckSubject) -> BuiltLayer:
    """Built with E = 1, and P = 1 where it has slots; other settings as first found to allow it."""
    space = subject.space()
    if "experts" not in space:
        layer = perturb(subject.build().eval())
        if layer.num_experts > 1:
            raise NotApplicable(f"it has {layer.num_experts} experts and no setting 'experts'.")
        return BuiltLayer(subject.name, layer, subject.defaults())
    one = {"experts": 1, **({"slots": 1} if "slots" in space else {})}
    # Settings left out fall back to what build() takes as their defaults beside one expert.
    tries: list[Settings] = [one, *({**s, **one} for s in (subject.defaults(), *sample_settings(space, 10)))]
    refusal = ""
    for settings in tries:
        try:
            layer = _sized_like_default(subject, settings)
        except (ValueError, KeyError) as error:
            refusal = str(error)
            continue
        if layer.num_experts == 1:
            return BuiltLayer(subject.name, perturb(layer.eval()), settings)
        refusal = f"it has {layer.num_experts} experts"
    claim = subject.variant.single_expert
    raise subject.failed(f"promises single_expert={claim!r}, but cannot be built with experts=1: {refusal}")


def _sized_like_default(subject: CheckSubject, settings: Settings) -> Layer:
    size = subject.sizes(subject.defaults())[0]
    # A hidden width unlike D, so that shapes show which axis is which.
    size = size + 1 if size == subject.shape.dim else size
    torch.manual_seed(0)
    return subject.variant.layer(subject.shape, size, settings)


def _plain_mlps(layer: Layer, shape: LayerShape, x_BTD: Tensor) -> Iterator[Tensor]:
    """The outputs of every MLP that the layer's (expert) parameters can be read as, by their shapes."""
    axes, named = layer.expert_parameters(), dict(layer.named_parameters())
    parts = [named[name].detach().movedim(axis, 0)[0] for name, axis in axes.items()]
    parts = parts or [parameter.detach() for parameter in named.values()]
    matrices, vectors = ([p for p in parts if p.ndim == n] for n in (2, 1))
    if len(matrices) != 2 or len(vectors) != 2 * shape.bias or len(parts) != len(matrices) + len(vectors):
        return
    zeros = [torch.zeros(()), torch.zeros(())]
    for w_in, w_out in itertools.permutations(matrices):
        for b_in, b_out in itertools.permutations(vectors) if shape.bias else [zeros]:
            for a, b in itertools.product((w_in, w_in.T), (w_out, w_out.T)):
                fits = (a.shape[0], b.shape[1], a.shape[1]) == (shape.dim, shape.out_dim, b.shape[0])
                if fits and (not shape.bias or (len(b_in), len(b_out)) == (a.shape[1], b.shape[1])):
                    yield shape.activate(x_BTD @ a + b_in) @ b + b_out
