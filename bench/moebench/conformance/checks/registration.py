"""What a variant says of itself, before anything is built in earnest."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

from moebench.budgets import solve
from moebench.conformance.compare import listed
from moebench.conformance.outcome import CheckFailed
from moebench.conformance.sampling import sample_settings
from moebench.conformance.subject import Subject
from moebench.contract import Choice, Layer, Settings, Space, Traits, Uniform
from moebench.errors import BudgetError, PluginError
from moebench.plugins.load import verify

SETTING = re.compile(r"(loss/)?[a-z][a-z0-9_]*")
RULE = re.compile(r"[a-z][a-z0-9_]*")
KINDS = ("tokens", "map")
SAMPLES = 20


def check_name_and_traits(subject: Subject) -> None:
    """Its name and traits are well formed, and no trait contradicts another."""
    try:
        verify(subject.name, subject.variant)
    except PluginError as error:
        raise CheckFailed(str(error)) from None
    traits = subject.variant.traits
    for name, allowed in _allowed().items():
        value = getattr(traits, name)
        if value not in allowed:
            raise subject.failed(f"has {name}={value!r} in its traits; it must be one of {', '.join(allowed)}.")
    disagreement = _disagreement(traits)
    if disagreement:
        raise subject.failed(disagreement)


def _allowed() -> dict[str, tuple[str, ...]]:
    hints = get_type_hints(Traits)
    return {name: get_args(hints[name]) for name in ("experts", "mass", "single_expert")}


def _disagreement(traits: Traits) -> str:
    """The first trait that contradicts another, or is none; empty if all agree."""
    for name in ("causal", "token_equivariant", "whole_input"):
        if not isinstance(getattr(traits, name), bool):
            return f"has {name}={getattr(traits, name)!r} in its traits; it must be True or False."
    if (traits.experts == "none") != (traits.mass == "none"):
        return f"claims experts={traits.experts!r} and mass={traits.mass!r}: a mass is where experts are."
    if traits.whole_input and traits.causal:
        return "claims to be causal, and to route an input as a whole: that looks ahead."
    if traits.single_expert == "none" and not traits.single_expert_reason.strip():
        return "makes no promise for a single expert; single_expert_reason must say why."
    if not isinstance(traits.hosts, tuple) or not traits.hosts or not set(traits.hosts) <= set(KINDS):
        return f"names the hosts {traits.hosts!r}; it must be a tuple of {' or '.join(map(repr, KINDS))}."
    if traits.single_expert == "pooled" and traits.causal:
        return "claims to be causal, and that a single expert sees the pooled token: pooling looks ahead."
    if not isinstance(traits.rules, tuple) or not all(RULE.fullmatch(str(rule)) for rule in traits.rules):
        return f"names the rules {traits.rules!r}; it must be a tuple of lower-case names."
    return ""


def check_space(subject: Subject) -> None:
    """Its space has lower-case names, known dimensions and defaults inside them, the same at every call."""
    space = subject.variant.space(subject.shape, subject.budget())
    if not isinstance(space, Space):
        raise subject.failed(f"returns a {type(space).__name__} from space(); it must be a moebench.contract.Space.")
    for name, dimension in space.items():
        if not isinstance(name, str) or not SETTING.fullmatch(name):
            raise subject.failed(
                f"has a setting {name!r}; names are lower-case letters, digits and underscores, "
                "and only 'loss/<name>' has a slash."
            )
        if not isinstance(dimension, Choice | Uniform):
            raise subject.failed(f"offers a {type(dimension).__name__} for '{name}'; it must be a Choice or Uniform.")
        if not dimension.holds(dimension.default):
            raise subject.failed(f"has the default {dimension.default!r} for '{name}', outside {dimension}.")
    again = subject.variant.space(subject.shape, subject.budget())
    if again != space:
        other = [n for n in {**space, **again} if space.get(n) != again.get(n)]
        raise subject.failed(f"offers another space when asked twice; it differs in {listed(other)}.")


def check_sampled_settings_build(subject: Subject) -> None:
    """Its defaults and 20 settings sampled from its space meet the budget, build, and run."""
    for i, settings in enumerate([subject.defaults(), *sample_settings(subject.space(), SAMPLES)]):
        which = "the default settings" if i == 0 else f"the settings {_named(settings)}"
        try:
            layer = subject.variant.build(subject.shape, 4, settings)
            _expect_layer(subject, layer)
            size = solve(subject.variant, subject.budget(), settings).sizes[0]
            layer = subject.variant.build(subject.shape, size, settings)
        except CheckFailed:
            raise
        except BudgetError as error:
            raise subject.failed(
                f"offers {which} in space(), which cannot meet a budget of {subject.amount(None):,} parameters: {error}"
            ) from None
        except Exception as error:
            raise subject.failed(
                f"offers {which} in space(), but build() refuses them: {type(error).__name__}: {error}"
            ) from None
        _run(subject, layer, which)


def _expect_layer(subject: Subject, layer: object) -> None:
    if not isinstance(layer, Layer):
        raise subject.failed(f"builds a {type(layer).__name__}; it must be a moebench.contract.Layer.")


def _run(subject: Subject, layer: Layer, which: str) -> None:
    try:
        layer(subject.inputs())
    except Exception as error:
        raise subject.failed(f"builds with {which}, but forward() raises {type(error).__name__}: {error}") from None


def _named(settings: Settings) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in settings.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
