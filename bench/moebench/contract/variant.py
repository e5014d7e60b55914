"""What an author writes: a name, claims, settings to tune, and how to build one layer."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Literal

from moebench.contract.layer import Layer
from moebench.contract.shape import LayerShape
from moebench.contract.space import Choice, Settings, Space, Uniform, Value, narrowed

LOSS = "loss/"
"""Begins the name of a setting that is the weight of an auxiliary loss."""


def loss_weights(settings: Settings) -> dict[str, float]:
    """The weights among the settings, by the name of the loss."""
    return {name.removeprefix(LOSS): float(value or 0) for name, value in settings.items() if name.startswith(LOSS)}


class Variant:
    """An expert layer as a plug-in: a subclass, found through the entry-point group ``moebench.variants`` or as
    ``path.py:Class``. Importing its module has no side effects. By default it claims nothing, and ``moebench
    check`` checks what it claims.

    name: lower-case letters, digits and underscores.
    causal: y_t depends on x_1 ... x_t only.
    hosts: the kinds of stream that it takes part in, see ``LayerShape.kind``. The places of a map are tokens as well:
        a layer that accepts tokens also accepts maps.
    separable: the outputs of single-expert masks sum to that of the layer, and masked experts cost nothing. False where
        experts are fused (masks act, but save little), or there are none.
    mass: "exact" (an input's masses sum to T), "at_most" (to T or less) or "free".
    single_expert: with E = 1 the layer is the plain MLP ("dense"), or the MLP of the pooled token, one output for all
        tokens ("pooled"); "" makes no promise.
    token_equivariant: permuting the tokens permutes the outputs.
    whole_input: an input is routed as a whole: all its tokens have the same experts, with the same weights.
    reads_ids: it routes by the ids of tokens, and has no place in a host without any.
    reads_groups: it is shown the groups that a task hides; it may only be a reference row.
    paper, code: addresses (https) where the layer is described, and of its authors' implementation; boards link to
        them. author: who made it, as boards name them. As any line of the file they are part of what identifies its
        results.
    tune: what tuning may choose among: a setting's options, or a range; the default is that of ``build``, where it is
        among the options, else the first. ``loss/<name>``: the weight of an auxiliary loss.
    """

    name: str = ""
    paper: str = ""
    code: str = ""
    author: str = ""
    causal: bool = False
    hosts: tuple[str, ...] = ("tokens",)
    separable: bool = False
    mass: Literal["exact", "at_most", "free"] = "free"
    single_expert: Literal["dense", "pooled", ""] = ""
    token_equivariant: bool = False
    whole_input: bool = False
    reads_ids: bool = False
    reads_groups: bool = False
    tune: Mapping[str, tuple[Value, ...] | Uniform] = MappingProxyType({})

    def build(self, shape: LayerShape, size: int, *args: Any, **settings: Any) -> Layer:
        """Build one layer. Parameters grow with ``size`` (a hidden width, a rank), which the harness solves for.

        Settings are keyword-only arguments with defaults. An argument named ``losses`` is not a setting: it gets
        the names of the auxiliary losses that have a weight, so that only these are computed; where the settings name
        no loss, its default. With ``**settings`` those of the base class are settings, too.

        It is also called on the meta device, to count parameters: read no values there. The layer takes any B and T;
        the host adds norm and residual around it. No ``torch.compile`` inside.

        Draw initial weights from torch's default generator and never seed anything. ValueError, in one sentence, for a
        setting with a wrong value.
        """
        raise TypeError(f"{type(self).__name__} must define build(shape, size, *, ...)")

    def space(self, shape: LayerShape) -> Space:
        """All settings, in the order of ``build``, then the weights of losses: those in ``tune`` to choose among, the
        others fixed at their default. The harness leaves out options that cannot meet a budget.
        """
        defaults = self._settings()
        losses = {name: None for name in self.tune if name.startswith(LOSS)}
        return Space({name: self._dimension(name, default) for name, default in {**defaults, **losses}.items()})

    def layer(self, shape: LayerShape, size: int, settings: Settings) -> Layer:
        """What the harness calls: :meth:`build` with these settings; ValueError for an unknown one."""
        refuse_unknown(self.name, settings, {*self._settings(), *self.space(shape)})
        given: dict[str, Any] = {name: value for name, value in settings.items() if not name.startswith(LOSS)}
        weights = {name: self._weight(name, value) for name, value in settings.items() if name.startswith(LOSS)}
        if weights and "losses" in build_settings(type(self)):
            given["losses"] = tuple(name.removeprefix(LOSS) for name, weight in weights.items() if weight)
        layer = self.build(shape, size, **given)
        if not isinstance(layer, Layer):
            raise ValueError(f"{self.name}: build() gave {layer!r:.40}, not a moebench.contract.Layer")
        return layer

    def _settings(self) -> dict[str, Value]:
        """The settings that :meth:`build` takes, with their defaults."""
        return {name: default for name, default in build_settings(type(self)).items() if name != "losses"}

    def _dimension(self, name: str, default: Value) -> Choice | Uniform:
        tuned = self.tune.get(name, (default,))
        try:
            return tuned if isinstance(tuned, Uniform) else narrowed(Choice((default,)), tuned)
        except ValueError as error:
            raise ValueError(f"the setting '{name}': {error}") from None

    def _weight(self, name: str, value: Value) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"{self.name}: {name} must be a number of at least 0, not {value!r}")
        return value


def refuse_unknown(owner: str, settings: Settings, known: Collection[str]) -> None:
    """ValueError, with the nearest match, for a setting that is not among those known."""
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(sorted(known)) or 'none'}"
            raise ValueError(f"{owner} has no setting '{name}'; {hint}")


def build_settings(variant: type[Variant]) -> dict[str, Any]:
    """Keyword-only arguments of ``build`` with their defaults, the base class's first where it takes ``**``.

    TypeError, in words that follow the variant's name, where the harness could not call it.
    """
    found: dict[str, Any] = {}
    for owner in variant.__mro__:
        if owner is Variant or "build" not in vars(owner):
            continue
        parameters = list(inspect.signature(vars(owner)["build"]).parameters.values())
        own = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        others = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if len(parameters) - len(own) - others != 3 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
            raise TypeError(f"build() takes ({', '.join(map(str, parameters[1:]))}), not (shape, size, *, ...)")
        if missing := [p.name for p in own if p.default is p.empty]:
            raise TypeError(f"the setting '{missing[0]}' of build() needs a default")
        found = {**{p.name: p.default for p in own}, **found}
        if not others:
            break
    return found
