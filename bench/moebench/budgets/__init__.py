"""One checked budget for all: count what a layer is made of, and solve for the size that meets the budget."""

from moebench.budgets.count import count_layer, count_layers
from moebench.budgets.first_call import try_step
from moebench.budgets.flops import count_flops, dense_flops, flops_bounds, flops_of_layers
from moebench.budgets.settle import Fits, check_rules, reachable, settle
from moebench.budgets.solve import AXES, TOLERANCE, Axis, Budget, solve
from moebench.contract.space import narrowed

__all__ = [
    "AXES",
    "TOLERANCE",
    "Axis",
    "Budget",
    "Fits",
    "check_rules",
    "count_flops",
    "count_layer",
    "count_layers",
    "dense_flops",
    "flops_bounds",
    "flops_of_layers",
    "narrowed",
    "reachable",
    "settle",
    "solve",
    "try_step",
]
