"""How far a model's answers differ for inputs that Theorem 1, extended, proves to be mapped to nearly the same."""

from __future__ import annotations

import numpy as np

from moebench.errors import UsageError
from moebench.hosts.token_sum import TokenSum
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moestudies.theorem import SCALES, measure, pairs, router_weights


def gaps(subject: Subject) -> Scores:
    """The gaps of norms and of the model's answers at every scale, and where they are beyond the theorem's limit.

    ``vectors_beyond_limit_at_largest``: the same of what the host sums, as vectors, which is what any other g that
    follows the layer would see: with a residual the sums may agree where the vectors do not.
    """
    model = subject.model
    if not isinstance(model, TokenSum):
        host = type(model).__name__
        raise UsageError(
            f"the measure 'gaps' is for the host 'token_sum', not {host}.", code="gaps-need-token-sum", host=host
        )
    (layer,) = model.layers()
    family = pairs(router_weights(layer), model.tokens)
    scale_N = np.array(SCALES)
    found = measure(model, family, scale_N, lambda host, x_BTD: host.head_outputs(x_BTD.flatten(1)).squeeze(1))
    vectors = measure(model, family, scale_N[-1:], lambda host, x_BTD: host.summands(x_BTD.flatten(1)))
    scores = Scores(
        arrays={
            "scale_N": scale_N,
            "norm_gap_N": found.norm_N,
            "output_gap_N": found.output_N,
            "allowance_N": found.allowance_N,
        }
    )
    scores.put("norm_gap_at_largest", float(found.norm_N[-1]))
    scores.put("output_gap_at_largest", float(found.output_N[-1]))
    scores.put("allowance_at_largest", float(found.allowance_N[-1]))
    scores.put("beyond_limit_at_largest", float(found.breaks_N[-1]))
    scores.put("vectors_beyond_limit_at_largest", float(vectors.breaks_N[-1]))
    reason = "the model is within the limit at the largest scale"
    scores.put("beyond_limit_from_scale", found.breaks_from, reason)
    return scores
