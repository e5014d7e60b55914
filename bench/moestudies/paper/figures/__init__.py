"""The figures of the paper's report."""

from moestudies.paper.figures import costs, hosts, norms, searched, shares

PLOTS = (*norms.PLOTS, *shares.PLOTS, *searched.PLOTS, *hosts.PLOTS, *costs.PLOTS)
