"""Theorem 1 of arXiv 2409.00879 for every E and P: inputs of different norms that a Soft MoE layer maps to nearly
the same output.

For E = 1 the paper proves that no Lipschitz experts and no Lipschitz g give |t(X) - g(layer(X))| <= max{1, t(X)/20}
for all X, with t(X) = ||X||_2 over all entries. ``docs/paper.md`` states and proves it for all E, P and T >= 2, with
the plain and the l2-normalised router; :mod:`pairs` holds the two families of inputs.

    T tokens   D model width   E experts   P slots per expert   S = E P   N scales (sizes of the input)
    c_T coefficients: the token t of an input is a c_t v, with the scale a > 0 and the unit vector v_D

``python -m moestudies.theorem`` measures untrained layers.
"""

from moestudies.theorem.gap import SCALES, Gaps, allowance, measure
from moestudies.theorem.pairs import PairFamily, RouterWeights, pairs, router_weights

__all__ = [
    "SCALES",
    "Gaps",
    "PairFamily",
    "RouterWeights",
    "allowance",
    "measure",
    "pairs",
    "router_weights",
]
