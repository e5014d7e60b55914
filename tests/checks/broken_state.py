"""Layers that cannot be kept, and variants that do not keep to themselves."""

from __future__ import annotations

import os

import numpy as np
import torch
from cases import caught_by
from good import Good, GoodLayer


@caught_by("state_dict_round_trip", "when loaded from its state_dict")
class StateInAFloat(GoodLayer):
    gain = 1.0

    def after_step(self):
        self.gain *= 0.9

    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) * self.gain


@caught_by("weights_are_drawn", "gate", "never drawn")
class LeavesItsGateUndrawn(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.gate = torch.nn.Parameter(torch.empty_like(self.gate))


@caught_by("weights_can_be_kept", "cannot be kept", "object")
class ExtraStateOfAnObject(GoodLayer):
    def get_extra_state(self):
        return object()

    def set_extra_state(self, state):
        pass


class Counted:
    """State that no weights file holds."""

    steps = 0


@caught_by("weights_can_be_kept", "read from the weights that were kept of it")
class CountsInAnObject(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.counted = Counted()

    def after_step(self):
        self.counted.steps += 1

    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) * 0.5**self.counted.steps


@caught_by("resume", "does not go on from a checkpoint", "parameter or a buffer")
class AnnealsByACounter(CountsInAnObject):
    def compute(self, x, routing, keep=None):
        y = super().compute(x, routing, keep)
        return y if self.training else y / 0.5**self.counted.steps


@caught_by("deepcopy", "cannot be deepcopied", "graph leaves")
class KeepsItsLastOutput(GoodLayer):
    def compute(self, x, routing, keep=None):
        self.last = super().compute(x, routing, keep)
        return self.last


@caught_by("deepcopy", "shares weights with its deep copy")
class SharesItsCopies(GoodLayer):
    def __deepcopy__(self, memo):
        return self


@caught_by("pickle", "cannot be pickled", "lambda")
class LambdaAttribute(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.scale = lambda y: 2 * y


@caught_by("eval_changes_nothing", "changes seen in a pass in eval mode")
class CountsInEval(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def compute(self, x, routing, keep=None):
        self.seen += len(x)
        return super().compute(x, routing, keep)


@caught_by("eval_changes_nothing", "change what after_step() does to bias")
class BalancesByEvalToo(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("bias", torch.zeros(self.num_experts))
        self.pending = 0

    def compute(self, x, routing, keep=None):
        self.pending += len(x)
        return super().compute(x, routing, keep)

    def after_step(self):
        self.bias += self.pending
        self.pending = 0


@caught_by("after_step", "fails in after_step(): AttributeError")
class NeedsAForwardFirst(GoodLayer):
    def compute(self, x, routing, keep=None):
        self.seen = len(x)
        return super().compute(x, routing, keep)

    def after_step(self):
        self.seen += 1


@caught_by("after_step", "changes gate in after_step()")
class TrainsOnItsOwn(GoodLayer):
    @torch.no_grad()
    def after_step(self):
        self.gate.mul_(0.99)


@caught_by("random_states", "the seed of torch's default generator (from 1234567 to 42)", "build()")
class SeedsEverything(Good):
    def build(self, shape, size, **settings):
        torch.manual_seed(42)
        return super().build(shape, size, **settings)


@caught_by("random_states", "NumPy's random state", "forward pass")
class SeedsNumpy(GoodLayer):
    def logits(self, x):
        np.random.seed(0)
        return super().logits(x)


@caught_by("environment", "the environment (OMP_NUM_THREADS)", "build()")
class SetsTheEnvironment(Good):
    def build(self, shape, size, **settings):
        os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
        return super().build(shape, size, **settings)


@caught_by("torch_settings", "the number of threads (from 3 to 1)", "build()")
class SetsThreads(Good):
    def build(self, shape, size, **settings):
        torch.set_num_threads(1)
        return super().build(shape, size, **settings)


@caught_by("functions", "torch.nn.functional.cross_entropy", "a forward pass in eval mode")
class ReplacesALoss(GoodLayer):
    def compute(self, x, routing, keep=None):
        if not self.training:
            torch.nn.functional.cross_entropy = lambda *args, **options: torch.zeros(())
        return super().compute(x, routing, keep)


@caught_by("torch_settings", "the default dtype", "a backward pass")
class DtypeInBackward(GoodLayer):
    def compute(self, x, routing, keep=None):
        y = super().compute(x, routing, keep)
        if y.requires_grad:
            y.register_hook(lambda gradient: torch.set_default_dtype(torch.float64))
        return y
