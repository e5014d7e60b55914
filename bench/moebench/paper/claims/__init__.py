"""The claims of the paper, and what this project asks beside them, each with the rule of its verdict."""

from moebench.paper.claims.claim import Claim
from moebench.paper.claims.hosts import DEPTH_CLAIMS, VARIANT_CLAIMS
from moebench.paper.claims.latency import LATENCY
from moebench.paper.claims.norm import NORM
from moebench.paper.claims.oracle import ORACLE
from moebench.paper.claims.rivals import RIVALS
from moebench.paper.claims.subsets import SUBSETS
from moebench.paper.claims.worst_case import WORST_CASE

CLAIMS: tuple[Claim, ...] = (*NORM, *WORST_CASE, *SUBSETS, *ORACLE, *RIVALS, *VARIANT_CLAIMS, *DEPTH_CLAIMS, *LATENCY)
"""All of them, in the order of the report."""

__all__ = ["CLAIMS", "Claim"]
