"""How far a model of the norm task can tell apart the inputs that Theorem 1, extended, says it cannot."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from moebench.errors import UsageError
from moebench.hosts.token_sum import TokenSum
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moestudies.theorem import measure, pairs, router_weights

SCALES = tuple(10 ** (exponent / 10) for exponent in range(-10, 41))
"""a: 51 scales from 0.1 to 10,000, ten to a decade."""


def gaps(subject: Subject) -> Scores:
    """The gaps of norms and of the model's answers at every scale, and where they are beyond the theorem's limit.

    ``vectors_beyond_limit_at_largest``: the same of what the host sums, as vectors, which is what any other g that
    follows the layer would see: with a residual two inputs may have one sum and yet be told apart.
    """
    model = subject.model
    if not isinstance(model, TokenSum):
        raise UsageError(f"the measure 'gaps' is for the host 'token_sum', not {type(model).__name__}.")
    (layer,) = model.layers()
    family = pairs(router_weights(layer), model.tokens)
    scale_N = np.array(SCALES)
    found = measure(model, family, scale_N, _answers)
    scores = Scores(
        arrays={
            "scale_N": scale_N,
            "norm_gap_N": found.norm_N,
            "output_gap_N": found.output_N,
            "allowance_N": found.allowance_N,
        }
    )
    last = -1
    scores.put("norm_gap_at_largest", float(found.norm_N[last]))
    scores.put("output_gap_at_largest", float(found.output_N[last]))
    scores.put("allowance_at_largest", float(found.allowance_N[last]))
    scores.put("beyond_limit_at_largest", float(found.breaks_N[last]))
    vectors = measure(model, family, scale_N[last:], _summands)
    scores.put("vectors_beyond_limit_at_largest", float(vectors.breaks_N[last]))
    holds = np.flatnonzero(~found.breaks_N)
    first = 0 if not len(holds) else int(holds[-1]) + 1
    within = first == len(scale_N)
    reason = "the model is within the limit at the largest scale"
    scores.put("beyond_limit_from_scale", None if within else SCALES[first], reason)
    return scores


def _summands(model: nn.Module, x_BTD: Tensor) -> Tensor:
    """What the host sums, for inputs given as tokens."""
    assert isinstance(model, TokenSum)
    return model.summands(x_BTD.flatten(1))


def _answers(model: nn.Module, x_BTD: Tensor) -> Tensor:
    """The host's one number for inputs given as tokens."""
    assert isinstance(model, TokenSum)
    return model.head_outputs(x_BTD.flatten(1)).squeeze(1)
