"""The claims of the paper, and what this project asks beside them, each with the rule of its verdict."""

from moebench.studies.claim import Claim
from moestudies.paper.claims.hosts import DEPTH_CLAIMS, VARIANT_CLAIMS
from moestudies.paper.claims.latency import LATENCY
from moestudies.paper.claims.norm import NORM
from moestudies.paper.claims.oracle import ORACLE
from moestudies.paper.claims.rivals import RIVALS
from moestudies.paper.claims.subsets import SUBSETS
from moestudies.paper.claims.worst_case import WORST_CASE

CLAIMS: tuple[Claim, ...] = (*NORM, *WORST_CASE, *SUBSETS, *ORACLE, *RIVALS, *VARIANT_CLAIMS, *DEPTH_CLAIMS, *LATENCY)
"""All of them, in the order of the report."""

__all__ = ["CLAIMS", "Claim"]
