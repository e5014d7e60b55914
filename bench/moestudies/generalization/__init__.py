"""The bound of arXiv 2403.17404 beside measured gaps between training and test."""

from moebench.studies.study import Study
from moestudies.generalization.claims import CLAIMS
from moestudies.generalization.figures import PLOTS
from moestudies.generalization.models import OVER_E, PART

REPORT = Study(
    name=PART,
    source="arXiv 2403.17404 (Zhao, Wang, Wang: Generalization Error Analysis for Sparse Mixture-of-Experts)",
    question="The paper bounds how far the error on new data can lie above that on training data: with K of E experts "
    "for an input the bound grows like the square root of K (1 + log(E/K)), beside a term for one expert and the "
    "router. More experts that are there but do not act should cost little; more that act should cost much. A bound is "
    "no prediction: do measured gaps follow its order?",
    claims=CLAIMS,
    plots=PLOTS,
    sized=((PART, (OVER_E,), "Experts of one size, of which two act"),),
    arrays=("class_mass_CE_0",),
)
