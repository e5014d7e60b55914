"""What each claim of arXiv 2409.00879 comes to."""

from moebench.studies.study import Study
from moestudies.paper.claims import CLAIMS
from moestudies.paper.figures import PLOTS

SIZED = (
    ("paper-specialization", ("soft_moe",), "Fashion-MNIST, one layer"),
    ("paper-depth", ("no residual",), "CIFAR-10, three layers of a small ViT"),
    ("paper-norm", ("5x2",), "The norm, D = 2: expert parameters are equal, totals are not"),
    ("paper-norm", ("2x5",), "The norm, D = 5: expert parameters are equal, totals are not"),
)

REPORT = Study(
    name="paper",
    source="arXiv 2409.00879 (Chung, Malik, Schneider, Li, Singh; TMLR 2025)",
    question="The paper says that a Soft MoE of one expert cannot represent simple functions that several experts can, "
    "at equal expert parameters; and that many small experts specialize, so that for each input a small subset of "
    "them, found by one cheap rule, answers almost as well as all. Do these claims hold when they are measured again, "
    "with seeds, intervals, nulls and rivals?",
    claims=CLAIMS,
    plots=PLOTS,
    intervals="; for ratios of times that of the median of ratios taken inside each round",
    sized=SIZED,
    arrays=("class_mass_CE_0", "scale_N", "norm_gap_N", "output_gap_N", "allowance_N"),
)
