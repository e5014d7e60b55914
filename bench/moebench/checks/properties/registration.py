"""What a variant claims, before a layer of it is tried."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

from moebench.checks.compare import listed
from moebench.checks.outcome import CheckFailed, one_line
from moebench.checks.subject import CheckSubject
from moebench.contract import Choice, Settings, Space, Uniform, Variant
from moebench.errors import BudgetError, PluginError
from moebench.plugins.load import verify
from moebench.text import web_address

SETTING = re.compile(r"(loss/)?[a-z][a-z0-9_]*")
KINDS = ("tokens", "map")
SAMPLES = 20


def check_name_and_traits(subject: CheckSubject) -> None:
    """Its name and its claims are well formed, and no claim contradicts another."""
    try:
        verify(subject.name, subject.variant)
    except PluginError as error:
        raise CheckFailed(str(error)) from None
    variant, hints = subject.variant, get_type_hints(Variant)
    allowed = {name: get_args(hints[name]) for name in ("mass", "single_expert")}
    allowed |= dict.fromkeys(("causal", "separable", "token_equivariant", "whole_input"), (True, False))
    for name, values in allowed.items():
        value = getattr(variant, name)
        if type(value) is not type(values[0]) or value not in values:
            raise subject.failed(f"claims {name}={value!r}; it must be one of {', '.join(map(repr, values))}")
    for name in ("paper", "code"):
        value = getattr(variant, name)
        if value != "" and not web_address(value):
            raise subject.failed(f"has {name}={value!r:.200}; it must be an address that begins with https://")
    if not isinstance(variant.author, str):
        raise subject.failed(f"has author={variant.author!r:.200}; it must be a string")
    if variant.whole_input and variant.causal:
        raise subject.failed("claims to be causal, and to route an input as a whole: that looks ahead")
    if not isinstance(variant.hosts, tuple) or not variant.hosts or not set(variant.hosts) <= set(KINDS):
        raise subject.failed(f"names the hosts {variant.hosts!r}; it must be a tuple of {', '.join(map(repr, KINDS))}")
    if variant.single_expert == "pooled" and variant.causal:
        raise subject.failed("claims to be causal, and that a single expert sees the pooled token: pooling looks ahead")


def check_space(subject: CheckSubject) -> None:
    """Its space has lower-case names, known dimensions and defaults inside them, the same at every call."""
    space = subject.variant.space(subject.shape)
    if not isinstance(space, Space):
        raise subject.failed(f"returns a {type(space).__name__} from space(); it must be a moebench.contract.Space")
    for name, dimension in space.items():
        if not isinstance(name, str) or not SETTING.fullmatch(name):
            raise subject.failed(
                f"has a setting {name!r}; names are lower-case letters, digits and underscores, "
                "and only 'loss/<name>' has a slash"
            )
        if not isinstance(dimension, Choice | Uniform):
            raise subject.failed(f"offers a {type(dimension).__name__} for '{name}'; it must be a Choice or Uniform")
    again = subject.variant.space(subject.shape)
    if again != space:
        other = [n for n in {**space, **again} if space.get(n) != again.get(n)]
        raise subject.failed(f"offers another space at the second call; it differs in {listed(other)}")


def check_sampled_settings_build(subject: CheckSubject) -> None:
    """Its defaults, and those of 20 sampled settings that meet the budget, build and run."""
    for i, settings in enumerate([subject.defaults(), *subject.sampled(SAMPLES)]):
        which = "the default settings" if i == 0 else f"the settings {_named(settings)}"
        try:
            subject.variant.layer(subject.shape, 4, settings)
            layer = subject.variant.layer(subject.shape, subject.sizes(settings)[0], settings)
        except BudgetError as error:
            unmet = f"cannot meet a budget of {subject.amount(None):,} parameters: {error}"
            if i == 0:
                raise subject.failed(f"offers {which} in space(), which {unmet}") from None
            subject.note(f"{which} {unmet}")
            continue
        except Exception as error:
            raise subject.failed(f"offers {which} in space(), but build() refuses them: {one_line(error)}") from None
        with subject.expect_no_error(f"builds with {which}, but forward() fails"):
            layer(subject.inputs())


def _named(settings: Settings) -> str:
    short = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in short.items())
