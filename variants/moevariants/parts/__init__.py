"""The parts that the built-in variants are composed of, for anyone to compose again.

A router scores, a choice picks, a dispatch moves rows, experts compute, losses balance. Axis letters as in
:mod:`moebench.contract`, and A = N K assignments of tokens to experts, M rows that experts work on, S = E P
slots.
"""

from moevariants.parts.dispatch import Dispatch, combine_rows, place_in_capacity, plan_dispatch, take_rows
from moevariants.parts.experts import Bank, Experts
from moevariants.parts.losses import balance_loss, importance_loss, load_loss, z_loss
from moevariants.parts.mixing import SoftWeights, mix_all, mix_kept
from moevariants.parts.routers import (
    LinearRouter,
    SoftRouter,
    choose_top_k,
    gate_weights,
    l2_normalise,
    soft_weights,
    softmax_over_experts,
)
from moevariants.parts.settings import number, switch, whole

REVISION = "1"
"""Part of the identity of layers that other authors compose of these; raised when a part computes something else."""

__all__ = [
    "Bank",
    "Dispatch",
    "Experts",
    "LinearRouter",
    "SoftRouter",
    "SoftWeights",
    "balance_loss",
    "choose_top_k",
    "combine_rows",
    "gate_weights",
    "importance_loss",
    "l2_normalise",
    "load_loss",
    "mix_all",
    "mix_kept",
    "number",
    "place_in_capacity",
    "plan_dispatch",
    "soft_weights",
    "softmax_over_experts",
    "switch",
    "take_rows",
    "whole",
    "z_loss",
]
