"""The figures of the paper's report."""

from __future__ import annotations

from moebench.studies.plot import BANDS, BARS, Plot
from moestudies.paper.figures import costs, hosts, norms, searched, shares

PLOTS = (
    Plot(
        name="norm-error",
        part="paper-norm",
        title="The norm: average error by number of experts",
        reading=f"Both axes logarithmic; fresh Gaussian inputs, sigma = 5. {BANDS}",
        draw=norms.norm_error,
        seen=norms.norm_words,
    ),
    Plot(
        name="norm-gaps",
        part="paper-norm",
        title="The norm: pairs of inputs that a layer cannot tell apart",
        reading="Two inputs of different norms, made for the layer and scaled by a. Where a coloured line falls while "
        "the thick one stays above the dashed one, no answer read off the layer can be right within the limit for "
        "both. Differences below 1e-09 lie at the lower edge. 5 tokens of width 2, one slot, first seed.",
        draw=norms.gap_curves,
    ),
    Plot(
        name="accuracy-by-share",
        part="paper-specialization",
        title="Accuracy with a share of the experts",
        reading=f"One line for each E at equal parameters; nothing is retrained. {BANDS}",
        draw=shares.accuracy_by_share,
        seen=shares.retained_words,
    ),
    Plot(
        name="accuracy-by-experts",
        part="paper-specialization",
        title="Accuracy against the number of experts, at a fixed share",
        reading=f"Static: the experts of largest mean mass on validation data, the same for every input. {BANDS}",
        draw=shares.accuracy_by_experts,
    ),
    Plot(
        name="rival-scores",
        part="paper-specialization",
        title="Rival ways to select and use k = E/8",
        reading="The dashed line is the accuracy with all experts. * computes every expert to choose among them, so it "
        f"saves nothing. {BARS}",
        draw=shares.rival_scores,
    ),
    Plot(
        name="oracle",
        part="paper-specialization",
        title="The best subset of k = E/4, and what the search alone finds",
        reading=f"An input counts for the best subset when any of all C(E, E/4) subsets gives its label. {BANDS}",
        draw=searched.oracle,
        seen=searched.oracle_words,
    ),
    Plot(
        name="class-by-expert",
        part="paper-specialization",
        title="Which experts serve which class",
        reading="Mean combine weight of an expert on the test inputs of a class, over that of an even router; first "
        "seed.",
        draw=searched.class_by_expert,
    ),
    Plot(
        name="conditions",
        part="paper-specialization",
        title="One change at a time",
        reading=f"Each model is trained anew at the same budget. {BARS}",
        draw=hosts.conditions,
    ),
    Plot(
        name="variants",
        part="paper-variants",
        title="The same question asked of other routed layers",
        reading=f"Same host, budget and training. {BANDS}",
        draw=hosts.variants,
        seen=hosts.variants_words,
    ),
    Plot(
        name="depth",
        part="paper-depth",
        title="Three layers, without and with a residual around them",
        reading=f"k = the same share in every layer; each layer selects on a stream already masked below. {BANDS}",
        draw=hosts.depth,
        seen=hosts.depth_words,
    ),
    Plot(
        name="layer-cost",
        part="paper-latency",
        title="What the paper's layer costs",
        reading="Bars are quartiles over rounds. Dotted: no computation that does as many FLOPs or "
        "reads as many weights is faster on this machine. Both axes logarithmic.",
        draw=costs.layer_cost,
        seen=costs.layer_words,
    ),
    Plot(
        name="model-cost",
        part="paper-latency",
        title="What the whole models cost whose accuracy is quoted",
        reading="Bars are quartiles over rounds. Both axes logarithmic.",
        draw=costs.model_cost,
        seen=costs.model_words,
    ),
)
