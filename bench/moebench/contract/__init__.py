"""The contract between the harness and a layer: all that an author imports, and it imports nothing of moebench.

A variant is a small factory (:class:`Variant`). What it builds is a :class:`Layer` in two steps: ``route`` decides
which expert matters how much (a :class:`Routing`), ``compute`` does the experts' work. Axis letters, used in names:

    B batch   T tokens of one input   D model width   O output width   V views   E experts
    P slots per expert   K experts a token chooses   c tokens an expert takes   H hidden width of one expert
    S = E P slots   C classes   N rows
"""

from moebench.contract.layer import Context, Layer, Restricts
from moebench.contract.routing import Routing
from moebench.contract.shape import ACTIVATIONS, LayerShape
from moebench.contract.space import Choice, Dimension, LogUniform, Settings, Space, Uniform, Value
from moebench.contract.variant import Variant
from moebench.contract.wrap import wrap

__all__ = [
    "ACTIVATIONS",
    "Choice",
    "Context",
    "Dimension",
    "Layer",
    "LayerShape",
    "LogUniform",
    "Restricts",
    "Routing",
    "Settings",
    "Space",
    "Uniform",
    "Value",
    "Variant",
    "wrap",
]
