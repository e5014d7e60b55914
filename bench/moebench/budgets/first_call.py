"""What a layer must be before its first training step: its weights drawn, and its losses scalars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from moebench.budgets.place import INPUTS, TOKENS
from moebench.contract import Context, Layer, LayerShape, Settings, Variant
from moebench.errors import LayerError


def try_layer(variant: Variant, shape: LayerShape, size: int, settings: Settings) -> None:
    """:class:`LayerError` where the layer that it builds cannot be trained as it is; torch's generator is left alone.

    One pass in training mode on random inputs shows the losses.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        with undrawn_is_nan():
            layer = variant.layer(shape, size, settings).train()
        refuse_undrawn(variant.name, [layer])
        weight = next((p for p in layer.parameters() if p.is_floating_point()), torch.empty(0))
        generator = torch.Generator().manual_seed(0)
        x_BTD = torch.randn(INPUTS, shape.tokens or TOKENS, shape.dim, generator=generator).to(weight)
        refuse_no_scalars(variant.name, layer.route(x_BTD, Context()).losses)


def try_step(variant: Variant, shape: LayerShape, size: int, settings: Settings) -> None:
    """One forward and backward pass in training mode on random inputs; torch's generator is left alone.

    What the layer raises comes out. :class:`LayerError` for an output of another shape than the slot's.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        layer = variant.layer(shape, size, settings).train()
        weight = next((p for p in layer.parameters() if p.is_floating_point()), torch.empty(0))
        generator = torch.Generator().manual_seed(0)
        x_BTD = torch.randn(INPUTS, shape.tokens or TOKENS, shape.dim, generator=generator).to(weight).requires_grad_()
        routing = layer.route(x_BTD, Context())
        y_BTO: object = layer.compute(x_BTD, routing)
        allowed = [(*x_BTD.shape[:2], shape.out_dim)]
        allowed += [(len(x_BTD), len(shape.views), x_BTD.shape[1], shape.out_dim)] if shape.views else []
        if not isinstance(y_BTO, Tensor) or tuple(y_BTO.shape) not in allowed:
            found = f"of shape {tuple(y_BTO.shape)}" if isinstance(y_BTO, Tensor) else f"a {type(y_BTO).__name__}"
            raise LayerError(
                f"{variant.name}: for inputs of shape {tuple(x_BTD.shape)} its output is {found}; it must have shape "
                f"{allowed[-1]}.",
                code="output-shape",
                variant=variant.name,
                found=found,
            )
        loss = y_BTO.float().square().mean() + sum(routing.losses.values())
        if loss.requires_grad:  # a layer without parameters has nothing to learn
            torch.autograd.backward(loss)


@contextmanager
def undrawn_is_nan() -> Iterator[None]:
    """Memory that is made meanwhile and not written holds NaN, not what happened to lie there.

    torch does so while it is deterministic; what is drawn is the same.
    """
    before = torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.set_deterministic_debug_mode(before)


def refuse_undrawn(name: str, layers: Iterable[Layer]) -> None:
    """:class:`LayerError` for parameters that are not finite, or buffers with NaN, in layers that were built under
    :func:`undrawn_is_nan`. ``name`` is the variant's. A layer of shapes alone, on the meta device, has no weights yet.
    """
    for layer in layers:
        drawn = [(name, each) for name, each in layer.named_parameters() if not each.is_meta]
        names = [name for name, parameter in drawn if not bool(parameter.isfinite().all())]
        names += [name for name, buffer in layer.named_buffers() if not buffer.is_meta and bool(buffer.isnan().any())]
        if names:
            listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise LayerError(
                f"{name}: its weights {listed} are not finite or were never drawn; build() has to initialise them.",
                code="weights-not-drawn",
                variant=name,
                names=names,
            )


def refuse_no_scalars(name: str, losses: Mapping[str, object]) -> None:
    """:class:`LayerError` for a loss that is no scalar tensor of numbers. ``name`` is the variant's."""
    for key, loss in losses.items():
        scalar = isinstance(loss, Tensor) and loss.ndim == 0 and loss.is_floating_point()
        if not scalar:
            if isinstance(loss, Tensor):
                found = f"has shape {tuple(loss.shape)} and {str(loss.dtype).removeprefix('torch.')} values"
            else:
                found = f"is of type {type(loss).__name__}"
            raise LayerError(
                f"{name}: its loss '{key}' {found}; a loss is a scalar tensor of floating point.",
                code="loss-not-scalar",
                variant=name,
                loss=key,
            )
