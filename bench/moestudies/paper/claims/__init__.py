"""The claims of the paper, and what this project asks beside them, each with the rule of its verdict."""

from moebench.studies.claim import Claim
from moestudies.paper.claims.hosts import DEPTH_CLAIMS, VARIANT_CLAIMS
from moestudies.paper.claims.latency import LATENCY
from moestudies.paper.claims.norm import NORM, WORST_CASE
from moestudies.paper.claims.subsets import ORACLE, RIVALS, SUBSETS

CLAIMS: tuple[Claim, ...] = (*NORM, *WORST_CASE, *SUBSETS, *ORACLE, *RIVALS, *VARIANT_CLAIMS, *DEPTH_CLAIMS, *LATENCY)
"""All of them, in the order of the report."""
