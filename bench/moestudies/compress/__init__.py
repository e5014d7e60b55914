"""What is left of a sparse model whose experts are merged, compressed or pruned: arXiv 2310.01334, arXiv 2510.13999."""

from moebench.studies.study import Study
from moestudies.compress.claims import CLAIMS
from moestudies.compress.figures import PLOTS
from moestudies.compress.rows import PART, SPARSE, TRAINED_SMALL
from moestudies.compress.tables import before_and_after

REPORT = Study(
    name="compress",
    source="arXiv 2310.01334 (Li, Zhang, Yadav, Sung, Cheng, Bansal, Chen) and arXiv 2510.13999 (Lasby, Lazarevich, "
    "Sinnadurai, Lie, Ioannou, Thangarasa)",
    question="A sparse mixture has more weights than any one input needs, so it should be possible to make it smaller "
    "after training. MC-SMoE merges experts that the router treats alike and then writes the merged weights as low "
    "rank plus a few columns; REAP says that leaving experts out is better than merging them. Does either hold on a "
    "vision transformer with top-2 layers, at equal numbers of experts and equal steps of recovery, and what does it "
    "save in memory, work and time?",
    claims=CLAIMS,
    plots=PLOTS,
    sized=(
        (
            PART,
            (SPARSE, *(f"small {keep}" for keep in TRAINED_SMALL)),
            "CIFAR-10, the model before, and those trained small",
        ),
    ),
    tables=(before_and_after,),
    arrays=("class_mass_CE_0",),
)
