"""What a layer promises to be with one expert."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from moebench.budgets.causal import perturb
from moebench.checks.compare import difference_at, gap, same
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Built, Subject, sample_settings
from moebench.contract import Layer, LayerShape, Settings


def check_single_expert(subject: Subject) -> None:
    """With one expert it is what it claims: the plain MLP, or the MLP of the pooled token."""
    if not subject.variant.single_expert:
        raise NotApplicable("it makes no promise for a single expert.")
    built = _with_one_expert(subject)
    layer = built.layer
    if subject.variant.single_expert == "pooled":
        _expect_one_output(subject, layer, subject.inputs())
        alone = _sized_like_default(subject.in_shape(**subject.one_token), built.settings)
        _expect_plain(subject, layer, alone, subject.inputs(tokens=1))
    else:
        _expect_plain(subject, layer, layer, subject.inputs())


def _with_one_expert(subject: Subject) -> Built:
    """Built with E = 1, and P = 1 where it has slots; other settings as first found to allow it."""
    space = subject.space()
    if "experts" not in space:
        built = Built(perturb(subject.build().eval()), subject.defaults())
        if built.layer.num_experts > 1:
            raise NotApplicable(f"it has {built.layer.num_experts} experts and no setting 'experts'.")
        return built
    one = {"experts": 1, **({"slots": 1} if "slots" in space else {})}
    # Settings left out fall back to what build() takes as their defaults beside one expert.
    tries: list[Settings] = [one, *({**s, **one} for s in (subject.defaults(), *sample_settings(space, 10)))]
    refusals = []
    for settings in tries:
        try:
            layer = _sized_like_default(subject, settings)
        except (ValueError, KeyError) as error:
            refusals.append(str(error))
            continue
        if layer.num_experts == 1:
            return Built(perturb(layer.eval()), settings)
        refusals.append(f"it has {layer.num_experts} experts")
    raise subject.failed(
        f"promises single_expert={subject.variant.single_expert!r}, but cannot be built with experts=1: {refusals[-1]}."
    )


def _sized_like_default(subject: Subject, settings: Settings) -> Layer:
    size = subject.sizes(subject.defaults())[0]
    # A hidden width unlike D, so that shapes tell which axis is which.
    size = size + 1 if size == subject.shape.dim else size
    torch.manual_seed(0)
    return subject.variant.layer(subject.shape, size, settings)


def _expect_one_output(subject: Subject, layer: Layer, x_BTD: Tensor) -> None:
    y_BTO = layer(x_BTD)
    first = y_BTO[:, :1].expand_as(y_BTO)
    if not same(y_BTO, first):
        raise subject.failed(
            "promises one output for all tokens with a single expert, but token 0 differs "
            f"{difference_at(y_BTO, first)}."
        )


def _expect_plain(subject: Subject, owner: Layer, layer: Layer, x_BTD: Tensor) -> None:
    if layer is not owner:
        layer.load_state_dict(owner.state_dict())
        layer.eval()
    got = layer(x_BTD)
    candidates = list(_plain_mlps(owner, subject.shape, x_BTD))
    if not candidates:
        raise subject.failed(
            f"promises the plain MLP with a single expert, but its parameters are not those of one: "
            f"{_named_shapes(owner)}."
        )
    best = min(candidates, key=lambda want: gap(got, want))
    if not same(got, best, 1e-4):
        raise subject.failed(
            f"promises the plain MLP with a single expert, but differs from it {difference_at(got, best)}."
        )


def _plain_mlps(layer: Layer, shape: LayerShape, x_BTD: Tensor) -> Iterator[Tensor]:
    """The outputs of every MLP that the layer's (expert) parameters can be read as, by their shapes."""
    axes, named = layer.expert_parameters(), dict(layer.named_parameters())
    parts = [named[name].detach().movedim(axis, 0)[0] for name, axis in axes.items()]
    parts = parts or [parameter.detach() for parameter in named.values()]
    matrices, vectors = ([p for p in parts if p.ndim == n] for n in (2, 1))
    if len(matrices) != 2 or len(vectors) != 2 * shape.bias or len(parts) != len(matrices) + len(vectors):
        return
    for w_in, w_out in itertools.permutations(matrices):
        for biases in itertools.permutations(vectors) if shape.bias else [(None, None)]:
            for a, b in itertools.product((w_in, w_in.T), (w_out, w_out.T)):
                if _fits(shape, a, b, biases):
                    hidden = shape.activate(x_BTD @ a + (0 if biases[0] is None else biases[0]))
                    yield hidden @ b + (0 if biases[1] is None else biases[1])


def _fits(shape: LayerShape, a: Tensor, b: Tensor, biases: tuple[Tensor | None, ...]) -> bool:
    if a.shape[0] != shape.dim or b.shape[1] != shape.out_dim or a.shape[1] != b.shape[0]:
        return False
    return all(bias is None or len(bias) == m.shape[1] for bias, m in zip(biases, (a, b), strict=True))


def _named_shapes(layer: Layer) -> str:
    return ", ".join(f"{name} {tuple(p.shape)}" for name, p in layer.named_parameters())
