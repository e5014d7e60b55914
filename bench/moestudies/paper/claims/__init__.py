"""The claims of the paper, and what this project asks beside them, each with the rule of its verdict."""

from moebench.studies.claim import Claim
from moestudies.paper.claims.hosts import DEPTH_CLAIMS, VARIANT_CLAIMS
from moestudies.paper.claims.latency import LATENCY
from moestudies.paper.claims.norm import NORM, WORST_CASE
from moestudies.paper.claims.scale import SCALE
from moestudies.paper.claims.subsets import LIKE_FOR_LIKE, ORACLE, RIVALS, SUBSETS

CLAIMS: tuple[Claim, ...] = (
    *NORM,
    *WORST_CASE,
    *SUBSETS,
    *ORACLE,
    *RIVALS,
    *LIKE_FOR_LIKE,
    *VARIANT_CLAIMS,
    *DEPTH_CLAIMS,
    *LATENCY,
    *SCALE,
)
"""All of them, in the order of the report."""
