"""The contract between the harness and a variant: the only part of moebench that a variant imports.

A variant is a small factory (:class:`Variant`); what it builds is a :class:`Layer` in two steps, ``route``
(which expert matters how much) and ``compute`` (what the experts say). Axis letters, used in every name:

    B batch   T tokens of one input   D model width   O output width   E experts
    P slots per expert   K experts a token chooses   H hidden width of one expert   C classes   N rows
"""

from moebench.contract.compressor import Compressor, Met
from moebench.contract.layer import Layer, Routing
from moebench.contract.shape import ACTIVATIONS, LayerShape
from moebench.contract.space import Choice, Dimension, Settings, Space, Uniform
from moebench.contract.traits import Traits
from moebench.contract.variant import Variant
from moebench.contract.wrap import wrap

__all__ = [
    "ACTIVATIONS",
    "Choice",
    "Compressor",
    "Dimension",
    "Layer",
    "LayerShape",
    "Met",
    "Routing",
    "Settings",
    "Space",
    "Traits",
    "Uniform",
    "Variant",
    "wrap",
]
